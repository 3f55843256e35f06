"""Which drivers this machine can do, told without touching anything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ai_how.images.recipe import ImageError, recipe

_STATUS = Path("/proc/self/status")
# capabilities(7): to mount, to make network interfaces, to make device files, to enter a root
_NEEDED = {"SYS_ADMIN": 21, "NET_ADMIN": 12, "MKNOD": 27, "SYS_CHROOT": 18}


def nspawn_lacks() -> list[str]:
    """Return why nodes cannot be booted containers on this machine; empty where they can."""
    found = []
    if os.geteuid() != 0:
        found.append("only root can boot nodes; run it with sudo, or use `driver: process`")
    try:
        recipe()
    except ImageError as error:
        found.append(str(error))
    if shutil.which("systemd-nspawn") is None:
        found.append("systemd-nspawn is not installed; `apt install systemd-container`")
    if os.geteuid() == 0 and (lacking := _capabilities_lacking()):
        found.append(
            f"root lacks rights here ({', '.join(lacking)}), as in a container; "
            "use `driver: process`"
        )
    return found


def best_driver() -> tuple[str, list[str]]:
    """Return the driver that `auto` stands for here, and what kept it from being `nspawn`."""
    lacking = nspawn_lacks()
    return ("process" if lacking else "nspawn"), lacking


def _capabilities_lacking() -> list[str]:
    try:
        line = next(x for x in _STATUS.read_text().splitlines() if x.startswith("CapEff:"))
    except (OSError, StopIteration):
        return []
    held = int(line.split()[1], 16)
    return [name for name, bit in _NEEDED.items() if not held >> bit & 1]
