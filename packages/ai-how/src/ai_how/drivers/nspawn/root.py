"""A node's root: the image below, what the node changed above it, mounted as one."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.nspawn.disk import mount_disk
from ai_how.drivers.nspawn.mounts import mounts_below, run
from ai_how.files import write_whole


@dataclass(frozen=True)
class NodeFile:
    """A file of a node. `owner` is (user, group) as numbers in the node."""

    content: bytes
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)


def mount_root(folder: Path, tree: Path, size_MiB: int, say: Say) -> Path:
    """Mount a node's root at ``folder/root`` and return it. What it writes is on its own disk."""
    root = folder / "root"
    home = mount_disk(folder, size_MiB, say)
    upper, work = home / "upper", home / "work"
    if not upper.exists():
        write_whole(folder / "born", f"{secrets.token_hex(8)}\n")
    for path in (root, upper, work):
        path.mkdir(parents=True, exist_ok=True)
    if root not in mounts_below(folder):
        run("mount", "-t", "overlay", "-o", overlay_options(tree, upper, work), "ai-how", root)
    return root


def born(folder: Path) -> str:
    """Return what a node's root is known by until it is made anew; empty before it is made."""
    path = folder / "born"
    return path.read_text().strip() if path.exists() else ""


def overlay_options(tree: Path, upper: Path, work: Path) -> str:
    """Return the mount options of an overlay (kernel: Documentation/filesystems/overlayfs)."""
    return f"lowerdir={tree},upperdir={upper},workdir={work}"


def forget_changes(folder: Path) -> None:
    """Make a node's root anew from its image: remove all that the node wrote. Unmounted only."""
    if mounts_below(folder):
        raise DriverError(f"{folder} is mounted")
    (folder / "disk.img").unlink(missing_ok=True)
    for name in ("upper", "work"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)


def differs(root: Path, name: str, wanted: NodeFile) -> bool:
    """Say whether a node's file is not as it should be."""
    path = root / name.lstrip("/")
    try:
        status = path.lstat()
        same = (
            path.is_file()
            and not path.is_symlink()
            and path.read_bytes() == wanted.content
            and (status.st_mode & 0o7777, status.st_uid, status.st_gid)
            == (wanted.mode, *wanted.owner)
        )
    except OSError:
        return True
    return not same


def put(root: Path, name: str, wanted: NodeFile) -> None:
    """Write a file into a node's root.

    Raises DriverError where the node has made a link of a folder on the way: the file would
    be written outside the node.
    """
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.resolve() != path.parent:
        raise DriverError(f"{root.parent.name}: {Path(name).parent} has become a link; remove it")
    write_whole(path, wanted.content)
    path.chmod(wanted.mode)
    os.chown(path, *wanted.owner)


def link(root: Path, name: str, target: str) -> bool:
    """Make a symbolic link in a node's root; say whether it was not there."""
    path = root / name.lstrip("/")
    if path.is_symlink() and str(path.readlink()) == target:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    return True


def owner_in(tree: Path, user: str) -> tuple[int, int]:
    """Return the numbers of a user and its group in a root tree. Raises DriverError."""
    for line in (tree / "etc/passwd").read_text().splitlines():
        name, _, number, group, *_ = line.split(":")
        if name == user:
            return int(number), int(group)
    raise DriverError(f"the image {tree} has no user {user!r}")
