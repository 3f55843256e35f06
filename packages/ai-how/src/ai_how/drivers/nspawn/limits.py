"""What the kernel gives to all nodes together: where it is used up, nodes boot and do not work."""

from __future__ import annotations

import os
from pathlib import Path

from ai_how.drivers.base import DriverError

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
_PROC = Path("/proc")
_EACH = 4  # process 1 and what it starts; with fewer networkd has no network, slurmd no name


def refuse_too_many(count: int, limit: int | None = None, used: int | None = None) -> None:
    """Raise DriverError where `count` more nodes would not work: each watches files by inotify.

    `limit` and `used` are the kernel's own by default.
    """
    limit = _limit() if limit is None else limit
    if not count or limit is None:
        return
    used = _used() if used is None else used
    if used + _EACH * count <= limit:
        return
    wanted = 1 << (used + _EACH * count).bit_length()
    raise DriverError(
        f"{count} nodes watch files by {_EACH * count} inotify instances, and {used} of "
        f"{limit} are in use; `sysctl fs.inotify.max_user_instances={wanted}` allows more"
    )


def _limit() -> int | None:
    try:
        return int(_LIMIT.read_text())
    except (OSError, ValueError):
        return None


def _used() -> int:
    """Count those of root's processes, in nodes too."""
    found = set()
    for folder in _PROC.glob("[0-9]*/fd"):
        try:
            if folder.stat().st_uid != 0:
                continue
            for path in folder.iterdir():
                if os.readlink(path) == "anon_inode:inotify":  # noqa: PTH115 - no path to resolve
                    found.add(path)
        except OSError:
            continue  # it ended meanwhile
    return len(found)
