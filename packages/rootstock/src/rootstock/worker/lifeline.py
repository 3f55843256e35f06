"""The worker ends when the process that started it does, however that one ends.

The parent keeps the writing end of a pipe, which nobody ever writes to. When the parent is gone
the kernel signals the worker's whole process group (SIGIO by F_SETOWN, whose default is to end a
process), also while a model computes and holds the interpreter's lock. A death signal does the
same where a fork of the parent holds the pipe open; as it is for the death of the parent's
thread, it is used only when the main thread is the one that started the worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def hold(descriptor: int, parent: int | None) -> None:
    """Hang on to the pipe's reading end, and to the process `parent` where one is given."""
    if sys.platform.startswith("linux"):
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
        if parent is not None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, 1)
            os._exit(1)  # the end of file: the parent died before this was set
        if parent is not None and os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_wait, args=(descriptor,), daemon=True).start()


def _wait(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.killpg(0, signal.SIGKILL)
