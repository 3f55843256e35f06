"""External programs: always with a time limit, never left behind.

A program gets a session of its own, so that a time-out or an interrupt kills it with
everything it started, and on Linux the kernel kills it when the thread that started it
dies, so that a kill -9 of the campaign leaves no orphan burning a core.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: nothing may be imported or allocated between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True) if os.uname().sysname == "Linux" else None
_GRACE_S = 2.0
_running: set[subprocess.Popen[bytes]] = set()
_running_lock = threading.Lock()
_stopping = threading.Event()


class StoppedError(RuntimeError):
    """The program was ended, or not started, because the user stopped the campaign."""


@dataclass(frozen=True)
class Finished:
    """How a program ended. `returncode` is negative for a signal, as in subprocess."""

    returncode: int
    wall_s: float
    timed_out: bool

    def describe(self) -> str:
        """Say how it ended, for an error message."""
        if self.timed_out:
            return f"stopped after its time limit ({self.wall_s:.0f} s)"
        if self.returncode < 0:
            return f"killed by {signal.Signals(-self.returncode).name}"
        return f"exit status {self.returncode}"


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_program(
    command: Sequence[str],
    *,
    cwd: Path,
    stdout: Path,
    timeout_s: float | None,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
) -> Finished:
    """Run `command` in `cwd`, stdout and stderr together into the file `stdout`.

    Parameters
    ----------
    command
        Program and arguments; no shell.
    cwd
        Its working directory, which must exist.
    stdout
        File that takes its output (overwritten).
    timeout_s
        Seconds after which the whole process group is killed; None for no limit.
    env
        The complete environment; None for this process's own.
    stdin
        File it reads from; None for nothing.

    Raises
    ------
    FileNotFoundError
        If the program does not exist.
    StoppedError
        If `stop_programs` was called before or while it ran.
    """
    if _stopping.is_set():
        raise StoppedError("stopped by the user")
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(stdout.open("wb"))
        source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            stdin=source,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl call, nothing allocated
        )
        with _running_lock:
            _running.add(process)
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            kill_group(process)
            with _running_lock:
                _running.discard(process)
    if _stopping.is_set():
        raise StoppedError("stopped by the user")
    return Finished(process.returncode, time.monotonic() - start, timed_out)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process started in a session of its own, with all it started: TERM, then KILL."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_programs() -> None:
    """End every program that is running and let none start, until `allow_programs`.

    For an interrupt: only the main thread sees Ctrl-C, the programs run under others,
    and a program that was killed must not look like a failure that is worth a retry.
    """
    _stopping.set()
    with _running_lock:
        processes = list(_running)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def allow_programs() -> None:
    """Let programs start again after `stop_programs`."""
    _stopping.clear()
