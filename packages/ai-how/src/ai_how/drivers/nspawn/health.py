"""Whether the services of a node run and trust the cluster's key; and mending those that do not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.nspawn.machine import Machine, said_in

_FULL_MIB = 32
_CHECK = """
for unit in "$@"; do echo "$unit $(systemctl is-active "$unit")"; done
unmunge >/dev/null 2>&1 && echo munge good || echo munge bad
"""


def faults(machine: Machine, root: Path, units: Sequence[str], socket: Path) -> list[str]:
    """Return what is wrong in a node that runs, each with its remedy."""
    found = []
    name = machine.node
    if (free := free_mib(root)) is not None and free < _FULL_MIB:
        found.append(
            f"{name}: its disk is full ({free} MiB left); free {_FULL_MIB} MiB or more in {root}"
        )
    try:
        states = _states(machine, units, socket)
    except DriverError as error:
        return [*found, str(error)]
    for unit in units:
        state = states.get(unit, "unknown")
        if state not in {"active", "activating"}:
            found.append(f"{name}: {unit} is {state}; `ai-how up` starts it")
    if states.get("munge.service") == "active" and states.get("munge") == "bad":
        found.append(f"{name}: munge has another key than the cluster; `ai-how up` mends it")
    return found


def mend(machine: Machine, units: Sequence[str], socket: Path, *, anew: bool) -> str | None:
    """Start the services of a node that do not run; all `anew` where their files have changed.

    Return what was done, or None.
    """
    states = _states(machine, units, socket)
    if states.get("munge") == "bad" and states.get("munge.service") == "active":
        anew = True
    if anew:
        said_in(machine, ["systemctl", "daemon-reload"], limit_s=60)
        readers = [unit for unit in units if unit.startswith(("munge", "slurm"))]
        done = said_in(machine, ["systemctl", "restart", *readers], limit_s=90)
        if not done.returncode:
            done = said_in(machine, ["systemctl", "start", *units], limit_s=60)
        told = f"{machine.node}: its files have changed, services are started anew"
    else:
        dead = [unit for unit in units if states.get(unit) not in {"active", "activating"}]
        if not dead:
            return None
        said_in(machine, ["systemctl", "reset-failed", *dead], limit_s=30)
        done = said_in(machine, ["systemctl", "start", *dead], limit_s=60)
        told = f"{machine.node}: {', '.join(dead)} started"
    if done.returncode:
        raise DriverError(f"{machine.node}: {done.stderr.strip()}")
    return told


def free_mib(root: Path) -> int | None:
    """Return the free space of a node's root in MiB, or None where it is not mounted."""
    try:
        status = os.statvfs(root)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize // 2**20


def _states(machine: Machine, units: Sequence[str], socket: Path) -> dict[str, str]:
    credential = subprocess.run(
        ["munge", "-n", "-S", str(socket)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    given = credential.stdout if credential.returncode == 0 else None
    done = said_in(machine, ["sh", "-c", _CHECK, "sh", *units], given=given)
    lines = (line.split() for line in done.stdout.splitlines())
    found = {words[0]: words[1] for words in lines if len(words) == 2}
    if given is None:
        found.pop("munge", None)
    return found
