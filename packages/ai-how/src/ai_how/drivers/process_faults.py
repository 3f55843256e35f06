"""What can be wrong with nodes that are processes though their daemons run, and how to mend it.

A munge key that was changed, a full disk, a state of slurmctld's that cannot be read: each is
found by looking, told in a plain sentence, and mended by `ai-how up` as far as it can be.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.daemons import job_processes
from ai_how.files import write_whole

_LEAST_FREE_MIB = 8  # slurmd writes scripts and credentials of a job: kilobytes each
_SIGNED = "munge.key.sha256"
# What slurmctld says where it cannot read what it saved (read_config.c, job_mgr.c).
_UNREADABLE = ("start with '-i'", "Can not recover", "Incomplete")


def key_faults(folder: Path) -> list[str]:
    """Return what is wrong with the cluster's munge key."""
    key = folder / "etc" / "keys" / "munge.key"
    if not key.exists():
        return ["the munge key is missing; `ai-how up` makes a new one"]
    if (recorded := _recorded(key)) and _digest(key) != recorded:
        return ["the munge key is not the one the cluster was made with; `ai-how up` replaces it"]
    return []


def mend_key(folder: Path, say: Say) -> bool:
    """Remove a munge key that is not the cluster's own; say whether there was one.

    Whoever starts munged then makes a new key, and calls `sign_key`.
    """
    key = folder / "etc" / "keys" / "munge.key"
    if not key.exists() or not key_faults(folder):
        return False
    key.unlink()
    say("the munge key was changed: a new one is made, and all daemons are started anew")
    return True


def sign_key(folder: Path) -> None:
    """Remember which key is the cluster's own."""
    key = folder / "etc" / "keys" / "munge.key"
    if _digest(key) != _recorded(key):
        write_whole(key.parent / _SIGNED, _digest(key))


def disk_faults(folder: Path, names: Sequence[str]) -> list[str]:
    """Return which nodes have no space left for their jobs' files."""
    return [
        f"{name}: its disk is full ({free} MiB free in {spool}); `ai-how up` removes what jobs "
        "that ended left there"
        for name in names
        if (free := _free_mib(spool := folder / "spool" / name)) < _LEAST_FREE_MIB
    ]


def mend_disks(folder: Path, names: Sequence[str], say: Say) -> list[str]:
    """Remove what ended jobs left on full disks; return the nodes that have space again.

    Raises DriverError for a disk that is full of something else.
    """
    mended = []
    for name in names:
        spool = folder / "spool" / name
        if _free_mib(spool) >= _LEAST_FREE_MIB:
            continue
        if not job_processes(folder, name):
            for path in spool.glob("job*"):
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        if (free := _free_mib(spool)) < _LEAST_FREE_MIB:
            raise DriverError(
                f"{name}: its disk is full ({free} MiB free in {spool}), and not of files of "
                f"jobs that ended; free {_LEAST_FREE_MIB} MiB, then `ai-how up` again"
            )
        say(f"{name}: its disk was full; files of jobs that ended are removed")
        mended.append(name)
    return mended


def unreadable_state(log: Path) -> bool:
    """Say whether slurmctld's last words are that it cannot read the state it saved."""
    try:
        last = log.read_text(errors="replace").splitlines()[-20:]
    except OSError:
        return False
    return any(word in line for line in last for word in _UNREADABLE)


def set_state_aside(state: Path) -> Path:
    """Move a state that slurmctld cannot read to a folder beside it, and return that."""
    aside = state.with_name(f"{state.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    state.rename(aside)
    state.mkdir(mode=0o700)
    return aside


def _digest(path: Path) -> str:
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def _recorded(key: Path) -> str:
    with contextlib.suppress(OSError):
        return (key.parent / _SIGNED).read_text().strip()
    return ""


def _free_mib(folder: Path) -> int:
    """Return the space that is left in a folder, or in the one it would be made in."""
    at = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(at)
    return found.f_bavail * found.f_frsize // 2**20
