"""Who is at the other end of a socket."""

from __future__ import annotations

import os
import socket
import struct

_UCRED = struct.Struct("=iII")


def same_user(connected: socket.socket) -> bool:
    """Say whether the peer of a Unix socket runs under this process's user.

    True for what is no Unix socket, and where the kernel does not tell (outside Linux, where
    the socket's folder alone keeps others out).
    """
    if connected.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return True
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return bool(_UCRED.unpack(raw)[1] == os.geteuid())
