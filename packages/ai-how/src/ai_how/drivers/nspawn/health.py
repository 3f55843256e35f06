"""Whether the services of a node run and trust the cluster's key; and mending those that do not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.nspawn.disk import free_mib, is_full
from ai_how.drivers.nspawn.machine import Machine, said_in

_RUNS = frozenset({"active", "activating"})
_CHECK = """
for unit in "$@"; do
    echo "$unit $(systemctl is-active "$unit") $(systemctl is-enabled "$unit" 2>/dev/null)"
done
unmunge >/dev/null 2>&1 && echo munge good || echo munge bad
"""


def faults(
    machine: Machine, root: Path, units: Sequence[str], services: Sequence[str], socket: Path
) -> list[str]:
    """Return what is wrong in a node that runs, each with its remedy.

    `units` are those without which it is no node, `services` what the playbook has set up.
    """
    found = []
    name = machine.node
    if is_full(root):
        found.append(
            f"{name}: its disk is full ({free_mib(root)} MiB left); `ai-how up` makes room"
        )
    try:
        states = _states(machine, [*units, *services], socket)
    except DriverError as error:
        return [*found, str(error)]
    for unit in (*units, *services):
        state = states[unit].active if unit in states else "unknown"
        if state not in _RUNS:
            found.append(f"{name}: {unit} is {state}; `ai-how up` starts it")
    if _distrusts(states):
        found.append(f"{name}: munge has another key than the cluster; `ai-how up` mends it")
    return found


def mend(
    machine: Machine, units: Sequence[str], services: Sequence[str], socket: Path, *, anew: bool
) -> str | None:
    """Start the services of a node that do not run; all `anew` where their files have changed.

    Of `services` only those that the playbook has enabled: it starts the others itself.
    Return what was done, or None.
    """
    states = _states(machine, [*units, *services], socket)
    wanted = [*units, *[unit for unit in services if unit in states and states[unit].enabled]]
    if anew or _distrusts(states):
        said_in(machine, ["systemctl", "daemon-reload"], limit_s=60)
        readers = [unit for unit in units if unit.startswith(("munge", "slurm"))]
        done = said_in(machine, ["systemctl", "restart", *readers], limit_s=90)
        if not done.returncode:
            done = said_in(machine, ["systemctl", "start", *wanted], limit_s=60)
        told = f"{machine.node}: its files have changed, services are started anew"
    else:
        dead = [unit for unit in wanted if unit not in states or states[unit].active not in _RUNS]
        if not dead:
            return None
        said_in(machine, ["systemctl", "reset-failed", *dead], limit_s=30)
        done = said_in(machine, ["systemctl", "start", *dead], limit_s=60)
        told = f"{machine.node}: {', '.join(dead)} started"
    if done.returncode:
        raise DriverError(f"{machine.node}: {done.stderr.strip()}")
    return told


def jobs_run(machine: Machine) -> bool:
    """Say whether a job runs on a node: each has a slurmstepd."""
    return said_in(machine, ["pgrep", "--exact", "slurmstepd"]).returncode == 0


@dataclass(frozen=True)
class _Unit:
    """What systemd says of a unit: its state, and whether it is started after a boot."""

    active: str
    enabled: bool


def _distrusts(states: Mapping[str, _Unit]) -> bool:
    """Say whether munge runs and refuses what was made with the cluster's key."""
    munge = states.get("munge.service")
    return munge is not None and munge.active == "active" and states["munge"].active == "bad"


def _states(machine: Machine, units: Sequence[str], socket: Path) -> dict[str, _Unit]:
    """Return the state of each unit, and as `munge` whether it trusts the cluster's key."""
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
    found = {words[0]: _Unit(words[1], "enabled" in words[2:]) for words in lines if len(words) > 1}
    if given is None or "munge" not in found:
        found["munge"] = _Unit("unknown", enabled=False)
    return found
