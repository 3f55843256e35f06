"""What is mounted below a folder, read from the kernel's own list, and away with it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ai_how.drivers.base import DriverError

_MOUNTINFO = Path("/proc/self/mountinfo")


def run(*words: str | Path) -> None:
    """Run a program that says nothing where all is well. Raises DriverError with what it said."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise DriverError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def mounts_below(folder: Path) -> list[Path]:
    """Return what is mounted in or below a folder, the last first."""
    found = [place for place, _ in _mounted() if place.is_relative_to(folder)]
    return found[::-1]


def lower_of(root: Path) -> Path | None:
    """Return the image that a mounted root stands on, or None where nothing is mounted."""
    for place, options in _mounted():
        if place == root:
            found = re.search(r"lowerdir=([^,]*)", options)
            return Path(_plain(found[1])) if found else None
    return None


def unmount_below(folder: Path) -> None:
    """Unmount all in and below a folder; what somebody still stands in goes when they leave."""
    for path in mounts_below(folder):
        done = subprocess.run(["umount", path], capture_output=True, check=False, timeout=60)
        if done.returncode:
            run("umount", "--lazy", path)
    if left := mounts_below(folder):
        raise DriverError(f"{left[0]} cannot be unmounted")


def _mounted() -> list[tuple[Path, str]]:
    """Return place and options of all that is mounted, in the order of mounting."""
    found = []
    for line in _MOUNTINFO.read_text().splitlines():
        before, _, after = line.partition(" - ")
        found.append((Path(_plain(before.split()[4])), after))
    return found


def _plain(text: str) -> str:
    """Undo the octal escapes of mountinfo (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
