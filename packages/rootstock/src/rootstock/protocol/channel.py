"""Whole messages over a stream socket, with a look round while nothing comes.

The kernel's own receive time-out (SO_RCVTIMEO) wakes a waiting call every so often, which costs
nothing while messages come; Python's `settimeout` would add a `poll` to each of them. A plain
blocking receive was measured to be the fastest wake-up too: 10 to 30 microseconds for a round
trip between two processes, against 40 to 300 with a spin on shared memory, as the scheduler
likes to put both on one core (benchmarks/rootstock/wake_up.py).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

SLICE_S = 0.25
_TIMEVAL = struct.Struct("@ll")

Buffer = bytes | bytearray | memoryview


class ChannelClosedError(ConnectionError):
    """The other side has closed the connection, or is gone."""


class DeadlineError(TimeoutError):
    """The other side did not answer in time."""


class Channel:
    """One connected stream socket.

    `deadline` (of `time.monotonic`, None for none) ends whatever waits. `watch` is called
    about four times a second while a call waits, and may raise to end it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.deadline: float | None = None
        self.watch: Callable[[], None] | None = None
        connected.setblocking(True)
        seconds, fraction = divmod(SLICE_S, 1.0)
        limit = _TIMEVAL.pack(int(seconds), int(fraction * 1e6))
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._receive_into = connected.recv_into

    @property
    def is_local(self) -> bool:
        """Say whether both sides are on one machine for sure."""
        return self.socket.family == socket.AF_UNIX

    def receive_into(self, buffer: bytearray | memoryview) -> None:
        """Fill `buffer`. Raises ChannelClosedError, DeadlineError, or what `watch` raises."""
        total = len(buffer)
        try:
            got = self._receive_into(buffer)
        except BlockingIOError:
            got = -1
        except ConnectionError as error:
            raise ChannelClosedError(str(error)) from error
        if got == total:
            return
        view = memoryview(buffer)
        done = max(got, 0)
        while done < total:
            if got == 0:
                raise ChannelClosedError("the connection was closed")
            self._look()
            try:
                got = self._receive_into(view[done:])
            except BlockingIOError:
                got = -1
            except ConnectionError as error:
                raise ChannelClosedError(str(error)) from error
            done += max(got, 0)

    def receive(self, length: int) -> bytearray:
        """Return the next `length` bytes."""
        buffer = bytearray(length)
        if length:
            self.receive_into(buffer)
        return buffer

    def send(self, data: Buffer) -> None:
        """Send all of `data`. Raises like `receive_into`."""
        view = memoryview(data)
        while view:
            try:
                sent = self.socket.send(view)
            except BlockingIOError:
                self._look()
                continue
            except ConnectionError as error:
                raise ChannelClosedError(str(error)) from error
            view = view[sent:]

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _look(self) -> None:
        if self.watch is not None:
            self.watch()
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DeadlineError("no answer in time")


def connect(
    *, path: str | None = None, host: str = "localhost", port: int = 0, patience_s: float = 0.0
) -> Channel:
    """Connect to the Unix socket `path`, or to `host` and `port`.

    A server that is not there yet is waited for, `patience_s` seconds long. Raises OSError.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            if path is None:
                return Channel(socket.create_connection((host, port), timeout=30.0))
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(path)
            except OSError:
                client.close()
                raise
            return Channel(client)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
