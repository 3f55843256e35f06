"""A socket that waits for one client of this user."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rootstock.errors import ProtocolError, RootstockError
from rootstock.protocol.channel import SLICE_S, Channel, DeadlineError
from rootstock.server.credentials import same_user

_LONGEST_PATH = 100  # of the 108 bytes that a Unix address has on Linux, 104 elsewhere


class Listener:
    """A listening socket; `address` is its path, or host and port."""

    def __init__(self, listening: socket.socket, address: str, remove: Path | None) -> None:
        self._socket: socket.socket | None = listening
        self._remove = remove
        self.address = address
        self.port = listening.getsockname()[1] if listening.family == socket.AF_INET else 0
        listening.listen(1)
        listening.setblocking(False)

    @classmethod
    def private(cls) -> Listener:
        """Listen in a new folder that only this user can enter, on a name nobody else has."""
        folder = Path(tempfile.mkdtemp(prefix="rootstock-"))
        if len(str(folder)) + len("/worker") > _LONGEST_PATH:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="rootstock-", dir="/tmp"))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = folder / "worker"
        try:
            listening.bind(str(path))
        except OSError:
            listening.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(listening, str(path), folder)

    @classmethod
    def named(cls, name: str) -> Listener:
        """Listen on /tmp/ipi_NAME, where ASE's and i-PI's clients look. Raises RootstockError."""
        path = Path(f"/tmp/ipi_{name}")  # noqa: S108 - the protocol's own convention
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listening.bind(str(path))
        except OSError as error:
            listening.close()
            raise RootstockError(
                f"the socket {path} cannot be made ({error.strerror}): another server has it, "
                "or left it; choose another name or remove the file"
            ) from error
        finally:
            os.umask(mask)
        return cls(listening, str(path), path)

    @classmethod
    def inet(cls, host: str, port: int) -> Listener:
        """Listen on a TCP port; 0 takes a free one. Raises RootstockError."""
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            listening.close()
            raise RootstockError(
                f"port {port} of {host} cannot be used: {error.strerror}"
            ) from error
        return cls(listening, f"{host}:{listening.getsockname()[1]}", None)

    def accept(
        self, timeout_s: float | None = None, watch: Callable[[], None] | None = None
    ) -> Channel:
        """Return the connection of the first client that is this user's.

        Raises
        ------
        DeadlineError
            If none comes in `timeout_s`.
        ProtocolError
            If the listener was closed.
        """
        if self._socket is None:
            raise ProtocolError("the socket is closed")
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = SLICE_S if until is None else min(SLICE_S, until - time.monotonic())
            if left <= 0:
                raise DeadlineError(f"no client came to {self.address} in {timeout_s:g} s")
            ready, _, _ = select.select([self._socket], [], [], left)
            if ready:
                client, _ = self._socket.accept()
                if same_user(client):
                    return Channel(client)
                client.close()
            elif watch is not None:
                watch()

    def forget(self) -> None:
        """Close this process's copy and leave the address, which is another process's."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def close(self) -> None:
        """Stop listening and remove what lies on disk."""
        if self._socket is None:
            return
        self.forget()
        if self._remove is not None:
            if self._remove.is_dir():
                shutil.rmtree(self._remove, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    self._remove.unlink()
