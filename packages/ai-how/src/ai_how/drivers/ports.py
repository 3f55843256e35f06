"""Ports for daemons of one machine: the same ones each time, if nobody else has them."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from ai_how.files import locked

# Below the kernel's range for outgoing connections (ip_local_port_range: from 32768).
_FIRST, _LAST = 18_000, 32_000


def preferred_base(name: str) -> int:
    """Return where the ports of a cluster begin if nothing is in the way."""
    digest = hashlib.sha256(name.encode()).digest()
    return _FIRST + int.from_bytes(digest[:4], "big") % ((_LAST - _FIRST) // 10) * 10


def free_base(name: str, count: int) -> int:
    """Return the first port of `count` free ones in a row, near the preferred one.

    Raises OSError where there are none.
    """
    start = preferred_base(name)
    span = _LAST - _FIRST
    for step in range(0, span, 10):
        base = _FIRST + (start - _FIRST + step) % span
        if base + count <= _LAST and are_free(range(base, base + count)):
            return base
    raise OSError(f"no {count} free ports in a row between {_FIRST} and {_LAST}")


def choosing() -> AbstractContextManager[None]:
    """Hold what only one `up` of this user may hold at a time: from choosing ports to using them.

    Between the look at a port and the daemon that takes it, another cluster, which may keep its
    state elsewhere, would find the same one free.
    """
    folder = Path(tempfile.gettempdir()) / f"ai-how-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise OSError(f"{folder} belongs to somebody else; remove it, or set TMPDIR")
    return locked(folder / "ports.lock")


def are_free(ports: Iterable[int]) -> bool:
    """Say whether nothing listens on any of these ports."""
    return all(_is_free(port) for port in ports)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
