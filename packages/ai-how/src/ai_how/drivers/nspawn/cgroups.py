"""A control group of its own for each node.

systemd-nspawn lets a node manage the group ``payload`` below the one that it was started in
(``--keep-unit``; systemd: src/nspawn/nspawn-cgroup.c). Nodes that are started from one group would
share it, and the systemd of one removes what that of another is about to use: services fail now
and then with 219/CGROUP, and the node lacks what they would have made.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ai_how.drivers.base import DriverError

_MOUNTS = Path("/proc/self/mounts")
_GONE_S = 5.0


def hierarchies(mounts: Path = _MOUNTS) -> list[Path]:
    """Return where the hierarchies are mounted in which systemd keeps its units (cgroups(7))."""
    found = []
    for line in mounts.read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(place))
    return found


def missing() -> str | None:
    """Return why nodes can have no groups of their own, or None where they can."""
    places = hierarchies()
    if not places:
        return "systemd's control groups are not mounted (cgroups(7))"
    closed = [str(place) for place in places if not os.access(place, os.W_OK)]
    if closed:
        return f"no control group can be made in {closed[0]}, as in a container"
    return None


def make_group(machine: str) -> list[Path]:
    """Make the group of a machine; return the files that a process writes its number to, to join.

    What an earlier machine of this name left is removed. Raises DriverError.
    """
    remove_group(machine)
    found = []
    for place in hierarchies():
        group = place / _name(machine)
        try:
            group.mkdir(exist_ok=True)
        except OSError as error:
            raise DriverError(f"{group} cannot be made: {error.strerror}") from None
        found.append(group / "cgroup.procs")
    return found


def remove_group(machine: str) -> None:
    """Remove the group of a machine that has ended, with all below it."""
    left = [group for group in _groups(machine) if group.exists()]
    until = time.monotonic() + _GONE_S
    while left and time.monotonic() < until:
        for group in left:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # a process of it is about to end
                    Path(folder).rmdir()
        left = [group for group in left if group.exists()]
        if left:
            time.sleep(0.02)


def _groups(machine: str) -> list[Path]:
    return [place / _name(machine) for place in hierarchies()]


def _name(machine: str) -> str:
    return f"ai-how-{machine}"
