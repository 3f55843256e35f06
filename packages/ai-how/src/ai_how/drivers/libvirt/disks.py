"""The disks of guests: an overlay for each over one base, and a disk for what is to last."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.nspawn.contents import STORAGE_DATA
from ai_how.drivers.nspawn.root import owner_in
from ai_how.files import write_whole
from ai_how.images.disk import Disk, ext4_command, run_tool

ROOT, DATA = "root.qcow2", "controller.img"
_RECORD = "root.json"
_DATA_MIB = 4096


@dataclass(frozen=True)
class Overlay:
    """A node's overlay: the base that it is worth something with, its size, and when it began.

    `born` is what the overlay is known by until it is made anew.
    """

    base: str
    size_MiB: int
    born: str


def overlay_of(folder: Path) -> Overlay | None:
    """Return what is known of a node's overlay, or None where there is none, or half a one."""
    try:
        found = Overlay(**json.loads((folder / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if (folder / ROOT).is_file() else None


def stands_on(folder: Path, key: str) -> bool:
    """Say whether a node's overlay stands on a disk of the image `key`."""
    overlay = overlay_of(folder)
    return overlay is not None and overlay.base.startswith(f"{key} ")


def make_overlay(folder: Path, disk: Disk, size_mib: int) -> None:
    """Make a node's overlay, or let one that is there grow. Only where the node does not run."""
    if size_mib < disk.size_MiB:
        raise DriverError(
            f"{folder.name}: a disk of {size_mib} MiB does not hold the image, which needs "
            f"{disk.size_MiB} MiB; give `disk` more, or leave it out"
        )
    path, old = folder / ROOT, overlay_of(folder)
    if old is not None and old.base == disk.stamp:
        if size_mib > old.size_MiB:
            run_tool(["qemu-img", "resize", "-q", "-f", "qcow2", str(path), f"{size_mib}M"])
            _note(folder, Overlay(old.base, size_mib, old.born))
        return
    (folder / _RECORD).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(disk.base)]
    run_tool([*command, str(path), f"{size_mib}M"])
    _note(folder, Overlay(disk.stamp, size_mib, secrets.token_hex(8)))


def forget_overlay(folder: Path) -> None:
    """Remove all that a node wrote to its root. Only where the node does not run."""
    (folder / _RECORD).unlink(missing_ok=True)
    (folder / ROOT).unlink(missing_ok=True)


def make_data(path: Path, tree: Path) -> None:
    """Make the controller's disk of what is to last, with an empty database, if it is not there."""
    if path.exists():
        return
    new, filled = path.with_suffix(".new"), path.with_suffix(".tree")
    new.unlink(missing_ok=True)
    shutil.rmtree(filled, ignore_errors=True)
    filled.mkdir(parents=True)
    for name in ("slurmctld", *[name for data in STORAGE_DATA.values() for name in data]):
        (filled / name).mkdir()
    os.chown(filled / "slurmctld", *owner_in(tree, "slurm"))
    done = subprocess.run(
        ["cp", "--archive", "--reflink=auto", tree / "var/lib/mysql", filled / "mysql"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise DriverError(f"{path} cannot be made: {done.stderr.strip()}")
    run_tool(ext4_command(filled, new, _DATA_MIB))
    shutil.rmtree(filled)
    new.rename(path)


def _note(folder: Path, overlay: Overlay) -> None:
    write_whole(folder / _RECORD, json.dumps(asdict(overlay), indent=1) + "\n")
