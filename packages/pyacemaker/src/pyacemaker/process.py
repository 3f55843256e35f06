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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: nothing may be imported or allocated between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True) if os.uname().sysname == "Linux" else None
_GRACE_S = 2.0
_LOOK_S = 1.0
Watch = Callable[[int], str | None]
_running: set[subprocess.Popen[bytes]] = set()
_running_lock = threading.Lock()
_stopping = threading.Event()


class StoppedError(RuntimeError):
    """The program was ended, or not started, because the user stopped the campaign."""


@dataclass(frozen=True)
class Finished:
    """How a program ended. `returncode` is negative for a signal, as in subprocess.

    `stopped` is the reason a `watch` gave to end it, None where it ended by itself.
    """

    returncode: int
    wall_s: float
    timed_out: bool
    stopped: str | None = None

    def describe(self) -> str:
        """Say how it ended, for an error message."""
        if self.timed_out:
            return f"stopped after its time limit ({self.wall_s:.0f} s)"
        if self.stopped is not None:
            return f"stopped after {self.wall_s:.0f} s ({self.stopped})"
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
    watch: Watch | None = None,
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
    watch
        Called about once a second with the program's process id (which is also that of its
        session); returns why it must be ended, or None to let it run.

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
        timed_out, stopped = False, None
        try:
            if watch is None:
                process.wait(timeout_s)
            else:
                stopped = _watched(process, watch, timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            kill_group(process)
            with _running_lock:
                _running.discard(process)
    if _stopping.is_set():
        raise StoppedError("stopped by the user")
    return Finished(process.returncode, time.monotonic() - start, timed_out, stopped)


def _watched(process: subprocess.Popen[bytes], watch: Watch, timeout_s: float | None) -> str | None:
    """Wait for the end, looking now and then; raises TimeoutExpired as `wait` does."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause = 0.05
    while True:
        left = pause if deadline is None else min(pause, deadline - time.monotonic())
        try:
            process.wait(max(left, 0.0))
            return None
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() >= deadline:
                raise
        if (reason := watch(process.pid)) is not None:
            return reason
        pause = min(2 * pause, _LOOK_S)


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
