"""The end of what a program prints, kept for the error message."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO

_LINES = 40
_CHUNK = 1 << 16
_LONGEST = 2000


class OutputTail:
    """Drains a pipe in a thread; keeps the last lines, and copies all of them to `log`.

    `log` is a file to append to, ``-`` for this process's standard error, or None.
    """

    def __init__(self, pipe: BinaryIO, log: str | Path | None = None) -> None:
        self._pipe = pipe
        self._lines: deque[bytes] = deque(maxlen=_LINES)
        self._part = b""
        self._log: BinaryIO | None = None
        if log is not None and str(log) != "-":
            self._log = Path(log).expanduser().open("ab")
        self._to_stderr = str(log) == "-"
        self._thread = threading.Thread(target=self._drain, name="rootstock-output", daemon=True)
        self._thread.start()

    def text(self, wait_s: float = 2.0) -> str:
        """Return the last lines; waits for the end of the output of a process that has ended."""
        self._thread.join(wait_s)
        lines = [*self._lines, self._part] if self._part else list(self._lines)
        return b"\n".join(line[-_LONGEST:] for line in lines).decode(errors="replace").strip()

    def _drain(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), _CHUNK):
                if self._log is not None:
                    self._log.write(chunk)
                    self._log.flush()
                elif self._to_stderr:
                    sys.stderr.write(chunk.decode(errors="replace"))
                *whole, rest = (self._part + chunk).split(b"\n")
                self._lines.extend(line.rsplit(b"\r", 1)[-1] for line in whole)
                self._part = rest[-_LONGEST:]
        if self._log is not None:
            self._log.close()
