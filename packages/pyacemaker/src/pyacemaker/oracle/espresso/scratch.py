"""The scratch folders of pw.x: watched while it runs, cleaned after, bounded when it failed."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from pyacemaker.oracle.espresso.pw_input import OUT_FOLDER, PREFIX

FAILED_MARK = "FAILED"
_GB = 1e9
_SHARE_OF_MACHINE = 0.9
# How much of the time limit has passed when pw.x is asked to stop by itself and save its density.
_ASK_AT = 0.85
_DISK_EVERY_S = 5.0


@dataclass
class Watchdog:
    """Looks after one run of pw.x; a `Watch` of `run_program`.

    Towards the end of the time limit it asks pw.x to stop, by the file ``pwscf.EXIT``, so that
    its density is saved and a next attempt can go on from it. It ends a run whose output has
    not grown for `stall_s` seconds, or that uses more memory or disk than allowed.
    """

    folder: Path
    output: Path
    timeout_s: float
    stall_s: float
    max_memory_GB: float | None
    max_disk_GB: float
    started: float = field(default_factory=time.monotonic)
    asked: bool = False

    def __post_init__(self) -> None:
        """Begin the clocks."""
        self._size = -1
        self._grew = self.started
        self._disk_at = 0.0

    def __call__(self, session: int) -> str | None:
        """Return ``stalled``, ``memory`` or ``disk`` where the run must be ended, else None."""
        now = time.monotonic()
        if not self.asked and now - self.started > _ASK_AT * self.timeout_s:
            self.asked = True
            with contextlib.suppress(OSError):
                (self.folder / OUT_FOLDER / f"{PREFIX}.EXIT").touch()
        size = _size_of(self.output)
        if size != self._size:
            self._size, self._grew = size, now
        elif now - self._grew > self.stall_s:
            return "stalled"
        if memory_used(session) > (self.max_memory_GB or machine_memory() * _SHARE_OF_MACHINE):
            return "memory"
        if now - self._disk_at > _DISK_EVERY_S or not self._disk_at:
            self._disk_at = now
            if disk_used(self.folder) > self.max_disk_GB:
                return "disk"
        return None


def memory_used(session: int) -> float:
    """Return the memory (RSS) of all processes of a session in GB; 0 where it is not told."""
    pages = 0
    try:
        processes = list(Path("/proc").glob("[0-9]*"))
    except OSError:
        return 0.0
    for process in processes:
        try:
            # the name in brackets may hold blanks; what follows it does not
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                pages += int(fields[21])
        except (OSError, ValueError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / _GB


def machine_memory() -> float:
    """Return the memory of this machine in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB


def disk_used(folder: Path) -> float:
    """Return the disk space of a folder in GB; links are not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
    return total / _GB


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def saved_density(folder: Path) -> Path | None:
    """Return the folder with the density an attempt saved, or None."""
    saved = folder / OUT_FOLDER / f"{PREFIX}.save"
    return saved if any(saved.glob("charge-density.*")) else None


def lay_density(source: Path, folder: Path) -> None:
    """Lay a saved density into the scratch of a new attempt: it alone, and no result."""
    there = folder / OUT_FOLDER / f"{PREFIX}.save"
    there.mkdir(parents=True)
    for path in source.iterdir():
        if path.name.startswith("charge-density.") or path.name in {"paw.txt", "occup.txt"}:
            shutil.copyfile(path, there / path.name)


def tidy(folder: Path, *, keep_density: bool) -> None:
    """Remove what nothing needs: waves, copies of pseudopotentials, and densities if told so."""
    saved = folder / OUT_FOLDER / f"{PREFIX}.save"
    for path in [*(folder / OUT_FOLDER).glob(f"{PREFIX}.*"), *saved.glob("*")]:
        if not path.is_file() or path.name == "data-file-schema.xml":
            continue
        if keep_density and (
            path.name.startswith("charge-density.") or path.name in {"paw.txt", "occup.txt"}
        ):
            continue
        with contextlib.suppress(OSError):
            path.unlink()


def mark_failed(workdir: Path, diagnosis: str) -> None:
    """Note that the structure of this folder could not be labelled."""
    with contextlib.suppress(OSError):
        (workdir / FAILED_MARK).write_text(diagnosis + "\n")


def unmark(workdir: Path) -> None:
    """Take back `mark_failed`."""
    (workdir / FAILED_MARK).unlink(missing_ok=True)


def drop_old_failures(root: Path, limit_GB: float, spare: Path | None = None) -> list[Path]:
    """Drop the oldest failed folders below `root` until the rest takes at most `limit_GB`.

    Only folders marked as failed are touched, and not `spare`. Returns what was dropped.
    """
    failed = []
    for mark in root.glob(f"*/{FAILED_MARK}"):
        with contextlib.suppress(OSError):
            failed.append((mark.stat().st_mtime, mark.parent))
    failed.sort()
    sizes = {folder: disk_used(folder) for _, folder in failed}
    total = sum(sizes.values())
    dropped = []
    for _, folder in failed:
        if total <= limit_GB:
            break
        if folder == spare or not (folder / FAILED_MARK).exists():  # tried again meanwhile
            continue
        total -= sizes[folder]
        shutil.rmtree(folder, ignore_errors=True)
        dropped.append(folder)
    return dropped
