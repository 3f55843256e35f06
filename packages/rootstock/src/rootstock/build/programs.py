"""External programs: always with a time limit, never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rootstock.root.errors import BuildError

Say = Callable[[str], None]

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: nothing may be imported or allocated between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True) if os.uname().sysname == "Linux" else None
_GRACE_S = 2.0
_HEARTBEAT_S = 30.0


@dataclass(frozen=True)
class Log:
    """The file that takes the output of every program of a build, one after the other."""

    path: Path

    def begin(self) -> None:
        """Empty it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")

    def note(self, text: str) -> None:
        """Add a line of our own."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(f"# {text}\n")

    def text_from(self, offset: int) -> str:
        """Return what was written after `offset` bytes."""
        with self.path.open("rb") as stream:
            stream.seek(offset)
            return stream.read().decode(errors="replace")


def run(
    what: str,
    command: Sequence[str | Path],
    *,
    log: Log,
    timeout_s: float,
    env: Mapping[str, str],
    cwd: Path,
    say: Say = lambda _: None,
) -> str:
    """Run `command` and return its output, which is also added to `log`.

    The program has a session of its own, so that the time limit or an interrupt ends it with
    all it started, and the kernel kills it when the thread that started it dies. What takes
    long is said again every half minute.

    Raises BuildError, in one line that begins with `what`, when it fails or takes longer
    than `timeout_s`.
    """
    words = [str(part) for part in command]
    log.note(f"{what}: {' '.join(words)}")
    offset, start = log.path.stat().st_size, time.monotonic()
    with log.path.open("ab") as out:
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl call, nothing allocated
            )
        except OSError as error:
            raise BuildError(f"{what} failed: {words[0]}: {error.strerror}") from error
        timed_out = False
        try:
            timed_out = not _wait(process, what, start, timeout_s, say)
        finally:
            _kill_group(process)
    said = log.text_from(offset)
    if timed_out:
        raise BuildError(
            f"{what} was stopped after its time limit of {timeout_s:.0f} s (output: {log.path})"
        )
    if process.returncode != 0:
        code = process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if code == -signal.SIGKILL:
            how += ", perhaps for memory"
        raise BuildError(
            f"{what} failed ({how}): {gist(said)}{_remedy(words[0], said)} (output: {log.path})"
        )
    return said


def gist(said: str) -> str:
    """Return the line that says most: uv's last cause, Python's last line."""
    lines = [line.strip(" \t│╰─▶×├╴|") for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("hint:", "warning:", "#"))]
    return lines[-1][:400] if lines else "no output"


def _wait(
    process: subprocess.Popen[bytes], what: str, start: float, timeout_s: float, say: Say
) -> bool:
    """Wait for the end and return True, or False when the time is over."""
    while True:
        left = start + timeout_s - time.monotonic()
        if left <= 0:
            return False
        try:
            process.wait(min(left, _HEARTBEAT_S))
        except subprocess.TimeoutExpired:
            say(f"{what}: {time.monotonic() - start:.0f} s so far")
        else:
            return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _remedy(program: str, said: str) -> str:
    text = said.lower()
    if "no space left" in text or "disk quota exceeded" in text:
        return "; free some disk space, or use a root on another disk"
    unreachable = (
        "error sending request",
        "dns error",
        "connection refused",
        "name resolution",
        "network is unreachable",
        "max retries exceeded",
        "urlopen error",
    )
    if Path(program).name == "uv" and any(sign in text for sign in unreachable):
        return (
            "; check the network, or name an index that can be reached in UV_DEFAULT_INDEX or a "
            "folder of wheels in UV_FIND_LINKS"
        )
    return ""
