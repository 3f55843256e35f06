"""What a guest is to be, as a tar archive on a disk: its initrd unpacks it before systemd starts.

The disk is written in place, for a guest that restarts itself reads it again by the same open
file. What was half written is written again by the next `up`, before a guest starts.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ai_how.drivers.nspawn.root import NodeFile

_STEP = 2**20


def archive(files: Mapping[str, NodeFile], links: Mapping[str, str]) -> bytes:
    """Return a tar archive of files and symbolic links, by their paths; the same each time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted({*files, *links}):
            entry = tarfile.TarInfo(path.lstrip("/"))
            if path in links:
                entry.type, entry.linkname = tarfile.SYMTYPE, links[path]
                tar.addfile(entry)
                continue
            file = files[path]
            entry.size, entry.mode = len(file.content), file.mode
            entry.uid, entry.gid = file.owner
            tar.addfile(entry, io.BytesIO(file.content))
    return stream.getvalue()


def digests(files: Mapping[str, NodeFile], links: Mapping[str, str]) -> dict[str, str]:
    """Return what each file and link is, to tell later which have changed."""
    found = {
        path: hashlib.sha256(repr((f.content, f.mode, f.owner)).encode()).hexdigest()
        for path, f in files.items()
    }
    return found | {path: f"-> {target}" for path, target in links.items()}


def write_disk(path: Path, content: bytes) -> None:
    """Make the disk `path` hold an archive, padded to whole MiB; nothing is done where it does."""
    size = -(-len(content) // _STEP) * _STEP
    padded = content.ljust(size, b"\0")
    if path.exists() and path.read_bytes() == padded:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as stream:
        stream.write(padded)
        stream.truncate()
        stream.flush()
        os.fsync(stream.fileno())


def only(files: Mapping[str, NodeFile], names: Iterable[str]) -> dict[str, NodeFile]:
    """Return those of `files` that are named."""
    wanted = set(names)
    return {path: file for path, file in files.items() if path in wanted}
