"""The worker's process: started in a session of its own, ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rootstock.errors import (
    ModelSetupError,
    WorkerDiedError,
    WorkerStartError,
    describe_exit,
)
from rootstock.server.output import OutputTail
from rootstock.worker.__main__ import SETUP_FAILED

_GRACE_S = 2.0
# What would let another environment's packages, or its interpreter, into the worker's.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a worker's whole environment: the user's, less what is foreign, and `variables`.

    An empty value of a foreign variable removes it.
    """
    own = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    own["PYTHONNOUSERSITE"] = "1"
    return own | {k: v for k, v in variables.items() if v or k not in _FOREIGN}


class WorkerProcess:
    """A running worker. What it prints is kept for error messages, never read as an answer."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        variables: Mapping[str, str],
        what: str,
        log: str | Path | None = None,
        lifeline: bool = True,
    ) -> None:
        """Start `command`, a worker's unless `lifeline` is False. Raises WorkerStartError."""
        self.what = what
        self._oom_kills = _oom_kills()
        reading, self._lifeline = os.pipe()
        arguments = list(command)
        if lifeline:
            arguments += ["--lifeline", str(reading)]
            # see rootstock.worker.lifeline: the signal is for the death of this very thread
            if threading.current_thread() is threading.main_thread():
                arguments += ["--parent", str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(variables),
                pass_fds=(reading,),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            os.close(self._lifeline)
            raise WorkerStartError(
                f"{what}: the interpreter {command[0]} cannot be started: {error.strerror}"
            ) from error
        finally:
            os.close(reading)
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        self.output = OutputTail(self._process.stdout, log)  # type: ignore[arg-type]

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def demand_alive(self) -> None:
        """Raise WorkerDiedError or ModelSetupError if it has ended."""
        if self._process.poll() is not None:
            self.raise_ended()

    def raise_ended(self) -> NoReturn:
        """Say how it ended, with the end of its output; ends it first if need be."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self.kill()
        code = self._process.returncode
        output = self.output.text()
        if code == SETUP_FAILED:
            last = output.splitlines()[-1] if output else "no output"
            raise ModelSetupError(f"{self.what} cannot be set up: {last}", output)
        message = f"the worker of {self.what} {describe_exit(code)}"
        if code == -signal.SIGKILL:
            killer = _oom_kills()
            if self._oom_kills is not None and killer is not None and killer > self._oom_kills:
                message += ", as memory ran out"
            else:
                message += ", which is what happens when memory runs out"
        raise WorkerDiedError(message, output, code)

    def wait(self, grace_s: float) -> None:
        """Give it `grace_s` seconds to end by itself, then kill what is left of its group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """End it with everything it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close_lifeline()

    def forget(self) -> None:
        """Let go of it in a forked child, whose parent it belongs to."""
        self._close_lifeline()
        self._process.returncode = 0  # so that Popen does not warn, or wait, for it

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._lifeline = -1


def _oom_kills() -> int | None:
    """Return how many processes the kernel has killed for memory since it booted, if it tells."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else None
