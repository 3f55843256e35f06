"""A node's disk: a file with a file system, of the size that the cluster's YAML says.

The file is sparse: it takes the space that the node has filled, and gives back what it frees.
Where this machine has no loop devices (as in some containers) a node writes into its folder, and
its disk is this machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.nspawn.mounts import mounts_below, run

FULL_MIB = 32
_CONTROL = Path("/dev/loop-control")
# mke2fs(8): nothing is written but what the kernel needs to mount it
_FORMAT = ("-q", "-t", "ext4", "-m", "0", "-J", "size=8", "-O", "resize_inode", "-E")
_LAZY = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
# What a node writes that nobody misses; /tmp is in memory.
_PASSING = ("var/tmp", "var/cache", "var/log", "var/crash", "var/lib/systemd/coredump")


def mount_disk(folder: Path, size_MiB: int, say: Say) -> Path:
    """Mount the disk of the node in `folder`, made if it is not there; return where it is.

    A disk whose file system cannot be mended is set aside. Raises DriverError.
    """
    if not loops_work() or (folder / "upper").exists():
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    place, image = folder / "disk", folder / "disk.img"
    place.mkdir(parents=True, exist_ok=True)
    if place not in mounts_below(folder):
        if image.exists() and not _sound(image):
            kept = set_aside(folder)
            say(f"{folder.name}: its disk is damaged; it is kept as {kept}, and made anew")
        if not image.exists():
            _format(image, size_MiB)
        if image.stat().st_size < size_MiB << 20:
            _grow(image, size_MiB)
        run("mount", "-o", "loop,noinit_itable,discard", image, place)
    return place


def loops_work() -> bool:
    """Say whether files can be mounted here; in a container the kernel may refuse the device."""
    try:
        os.close(os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def has_own(folder: Path) -> bool:
    """Say whether a node has a disk of its own, and not a folder of this machine's."""
    return (folder / "disk.img").exists()


def free_mib(place: Path) -> int | None:
    """Return the free space in a folder in MiB, or None where it is not there."""
    try:
        found = shutil.disk_usage(place)
    except OSError:
        return None
    return found.free // 2**20


def is_full(place: Path) -> bool:
    """Say whether a node has too little space to start services and jobs."""
    free = free_mib(place)
    return free is not None and free < FULL_MIB


def host_faults(folder: Path) -> list[str]:
    """Return what is wrong with the disk of this machine, on which those of the nodes are."""
    free = free_mib(folder)
    if free is None or free >= FULL_MIB:
        return []
    where = f"({free} MiB left in {folder})"
    return [f"this machine's own disk is full {where}; free {FULL_MIB} MiB or more"]


def trim(root: Path) -> None:
    """Remove what a node can do without: caches, logs, and files that were to pass."""
    for name in _PASSING:
        folder = root / name
        if folder.is_symlink() or not folder.is_dir() or folder.resolve() != folder:
            continue
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True) if name != "var/log" else _empty(path)
            else:
                path.unlink(missing_ok=True)


def set_aside(folder: Path) -> Path:
    """Put a node's disk beside, in place of one that was; return its file. Unmounted only."""
    if mounts_below(folder):
        raise DriverError(f"{folder} is mounted")
    kept = folder / "disk.kept.img"
    (folder / "disk.img").replace(kept)
    return kept


def _empty(folder: Path) -> None:
    """Remove the files below a folder; services may want their folders to be there."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)


def _sound(image: Path) -> bool:
    """Mend what a power cut left, as a boot does; say whether the file system is good then."""
    done = subprocess.run(["e2fsck", "-p", image], capture_output=True, check=False, timeout=600)
    return done.returncode in {0, 1}


def _grow(image: Path, size_MiB: int) -> None:
    """Make a disk larger that is not mounted."""
    run("e2fsck", "-f", "-p", image)  # resize2fs asks for it
    run("resize2fs", image, f"{size_MiB}M")


def _format(image: Path, size_MiB: int) -> None:
    new = image.with_suffix(".new")
    new.unlink(missing_ok=True)
    run("truncate", f"--size={size_MiB}M", new)
    run("mke2fs", *_FORMAT, _LAZY, new)
    new.replace(image)
