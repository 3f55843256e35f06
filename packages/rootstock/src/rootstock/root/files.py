"""Files written whole, checksums, and locks that die with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~_umask())  # mkstemp makes it 0600 whatever the umask says
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (a rename is not, until its folder is synced)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_link(link: Path, target: str) -> None:
    """Make the symbolic link `link` point to `target`, in one step where it exists already."""
    aside = link.with_name(f".{link.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)
    sync_folder(link.parent)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_tree(folder: Path, pattern: str = "*") -> str:
    """Return one SHA-256 over the relative names and contents of the files of a folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob(pattern) if p.is_file()):
        total.update(f"{path.relative_to(folder)}\0{sha256_of(path)}\n".encode())
    return total.hexdigest()


def size_of_tree(folder: Path) -> int:
    """Return the bytes that the files below `folder` hold, a file with two names once."""
    seen: dict[tuple[int, int], int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = (Path(where) / name).lstat()
                if stat.S_ISREG(found.st_mode):
                    seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def remove_tree(folder: Path) -> None:
    """Remove a folder that may be read-only or half there; a symbolic link only itself."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
        return
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    for where, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(where).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


class AlreadyLockedError(RuntimeError):
    """Somebody else holds the lock; the message names the file and, where known, the holder."""


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made if missing).

    The kernel releases it when the holder dies, so a kill -9 never leaves it behind.
    With `wait=False` raises AlreadyLockedError at once where it is held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip()
            raise AlreadyLockedError(f"{path} is held by process {holder or 'unknown'}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
