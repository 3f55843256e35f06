"""Whether the services of a guest run and trust the cluster's key; and mending those that do not.

All is asked in one go: to open a connection is what takes time where a guest is emulated.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.libvirt.remote import said_in

_FULL_MIB = 32
_LIMIT_S = 180.0
_CHECK = """
for unit in "$@"; do echo "$unit $(systemctl is-active "$unit")"; done
unmunge >/dev/null 2>&1 && echo munge good || echo munge bad
echo free $(df --output=avail --block-size=1M / | tail -n 1)
"""
_ALIVE = frozenset({"active", "activating"})


def faults(folder: Path, node: str, units: Sequence[str]) -> list[str]:
    """Return what is wrong in a node that runs, each with its remedy."""
    try:
        states = _states(folder, node, units)
    except DriverError as error:
        return [str(error)]
    found = []
    free = states.get("free", "")
    if free.isdigit() and int(free) < _FULL_MIB:
        found.append(f"{node}: its disk is full ({free} MiB left); free {_FULL_MIB} MiB or more")
    for unit in units:
        state = states.get(unit, "unknown")
        if state not in _ALIVE:
            found.append(f"{node}: {unit} is {state}; `ai-how up` starts it")
    if states.get("munge.service") == "active" and states.get("munge") == "bad":
        found.append(f"{node}: munge has another key than the cluster; `ai-how up` mends it")
    return found


def mend(folder: Path, node: str, units: Sequence[str], *, new: bytes, whole: bytes) -> str | None:
    """Start the services of a node that do not run; write `new` files, where there are any.

    `new` and `whole` are archives: of what has changed (or empty), and of all that is the node's,
    which is written where its key is wrong. Return what was done, or None.
    """
    states = _states(folder, node, units)
    if states.get("munge") == "bad" and states.get("munge.service") == "active":
        new = whole
    if new:
        _done(folder, node, ["tar", "--extract", "--file=-", "--directory=/"], new)
        readers = [unit for unit in units if unit.startswith(("munge", "slurm"))]
        _done(folder, node, ["systemctl", "daemon-reload"])
        _done(folder, node, ["systemctl", "restart", *readers])
        _done(folder, node, ["systemctl", "start", *units])
        return f"{node}: its files have changed, services are started anew"
    dead = [unit for unit in units if states.get(unit) not in _ALIVE]
    if not dead:
        return None
    said_in(folder, node, ["systemctl", "reset-failed", *dead])
    _done(folder, node, ["systemctl", "start", *dead])
    return f"{node}: {', '.join(dead)} started"


def _done(folder: Path, node: str, command: Sequence[str], given: bytes = b"") -> None:
    done = said_in(folder, node, command, given=given, limit_s=_LIMIT_S)
    if done.returncode:
        raise DriverError(f"{node}: {done.stderr.decode(errors='replace').strip()}")


def _states(folder: Path, node: str, units: Sequence[str]) -> dict[str, str]:
    socket = folder / "run" / "munge.socket"
    credential = subprocess.run(
        ["munge", "-n", "-S", str(socket)], capture_output=True, check=False, timeout=10
    )
    given = credential.stdout if credential.returncode == 0 else b""
    done = said_in(folder, node, ["sh", "-c", _CHECK, "sh", *units], given=given)
    lines = (line.split() for line in done.stdout.decode(errors="replace").splitlines())
    found = {words[0]: words[1] for words in lines if len(words) == 2}
    if not given:
        found.pop("munge", None)
    return found
