"""Where the bytes of a message lie: in shared memory, or in a buffer that is sent.

The memory is an anonymous file (memfd) whose descriptor goes over the Unix socket. It has no
name, so nobody else can open it and nothing is left behind, however the processes end.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from dataclasses import dataclass, field

_GRAIN = 1 << 16


def rounded(size: int) -> int:
    """Return `size` rounded up to whole grains, with room to grow by a quarter."""
    return -(-(size + size // 4) // _GRAIN) * _GRAIN


@dataclass
class Lane:
    """One direction's buffer. `generation` changes when views of an older buffer are void."""

    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(_GRAIN)))
    shared: bool = False
    generation: int = 0

    def demand(self, size: int) -> None:
        """Make a private buffer hold `size` bytes; a shared one is left, and not used then."""
        if len(self.buffer) < size:
            self.use(memoryview(bytearray(rounded(size))), shared=False)

    def use(self, buffer: memoryview, *, shared: bool) -> None:
        """Take another buffer."""
        self.buffer = buffer
        self.shared = shared
        self.generation += 1


class Arena:
    """Memory of two processes: a part for requests, and behind it one for replies."""

    def __init__(self, descriptor: int, requests: int, replies: int) -> None:
        """Map the file `descriptor`, which stays the caller's. Raises OSError, ValueError."""
        if os.fstat(descriptor).st_size < requests + replies:
            raise ValueError("the shared memory is smaller than was said")
        self._map = mmap.mmap(descriptor, requests + replies)
        whole = memoryview(self._map)
        self.requests = whole[:requests]
        self.replies = whole[requests : requests + replies]


def anonymous_file(size: int) -> int:
    """Return the descriptor of a file of `size` bytes that has no name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("rootstock", os.MFD_CLOEXEC)
    else:
        descriptor, name = tempfile.mkstemp(prefix="rootstock-")
        os.unlink(name)  # noqa: PTH108 - beside the descriptor, no Path is at hand
    try:
        os.truncate(descriptor, size)
        if hasattr(os, "posix_fallocate"):
            # memory that is not there is refused here, not by a signal at the first write
            os.posix_fallocate(descriptor, 0, size)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return descriptor
