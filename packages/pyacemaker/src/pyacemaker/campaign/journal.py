"""Steps that are done once: a finished one is read back, a broken-off one is done again."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.events import Event, Listener
from pyacemaker.campaign.state import CampaignState, LogLine
from pyacemaker.files import sha256_of
from pyacemaker.structures import CorruptFileError, read_structures, write_structures

TELL_EVERY_S = 1.0  # a progress on disk costs an fsync
StepFunction = Callable[[np.random.Generator], dict[str, Any]]


class Journal:
    """The campaign's steps in its state file, and their files in the work directory."""

    def __init__(self, workdir: Path, state: CampaignState, seed: int, listener: Listener) -> None:
        self.workdir = workdir
        self.state = state
        self._seed = seed
        self._listener = listener
        self._now = (0, "")
        self._last = (0, "")  # the step that was asked for last, done or read back
        self._running = False
        self._noted: list[LogLine] = []
        self._since = 0.0  # when the running step began, seconds since 1970
        self._told = 0.0  # when its progress was last written down, on the monotonic clock

    def step(self, iteration: int, name: str, function: StepFunction) -> dict[str, Any]:
        """Return the result of the step, doing it if it is not done.

        `function` gets a generator seeded by (campaign seed, iteration, name) alone, so that
        a step gives the same result whether the run was interrupted before it or not.
        """
        self._last = (iteration, name)
        done = self.state.result(iteration, name)
        if done is not None:
            return done
        self._now = (iteration, name)
        self._listener(Event("begin", iteration, name))
        self._since = time.time()
        self._set_activity()
        start = time.monotonic()
        rng = np.random.default_rng([self._seed, iteration, zlib.crc32(name.encode())])
        self._running, self._noted = True, []
        try:
            result = function(rng)
        finally:
            self._running = False
        wall_s = time.monotonic() - start
        self.state.finish(iteration, name, result, wall_s, self._noted)
        self._listener(Event("end", iteration, name, data={"wall_s": wall_s, **result}))
        return result

    def reads_back(self) -> bool:
        """Say whether a later step than the one asked for last is finished already.

        Then this run is on its way through what an earlier one did.
        """
        return self.state.newest() not in (None, self._last)

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Tell how far the running step is."""
        iteration, step = self._now
        if done == total or time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            self._set_activity(done, total)
        self._listener(Event("progress", iteration, step, message, {"done": done, "total": total}))

    def _set_activity(self, done: int | None = None, total: int | None = None) -> None:
        """Leave word of what is being done for those who look from outside."""
        iteration, step = self._now
        found = {"iteration": iteration, "step": step, "since": self._since}
        if total is not None:
            found |= {"done": done, "total": total}
        self.state.set_fact("activity", found)

    def note(self, iteration: int, step: str, message: str) -> None:
        """Tell a decision, and keep it in the log.

        What a step notes is kept when the step is finished, in one transaction with its
        result: a step that is done again does not leave its notes twice.
        """
        line = LogLine(time.time(), iteration, step, message)
        if self._running:
            self._noted.append(line)
        else:
            self.state.log(line)
        self._listener(Event("note", iteration, step, message))

    def folder(self, iteration: int) -> Path:
        """Return the folder of an iteration, made if missing."""
        path = self.workdir / (f"iter_{iteration:03d}" if iteration else "preparation")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, path: Path, structures: list[Atoms]) -> dict[str, str]:
        """Write structures; the returned reference goes into a step's result."""
        checksum = write_structures(path, structures)
        return {"file": str(path.relative_to(self.workdir)), "sha256": checksum}

    def load(self, reference: dict[str, str]) -> list[Atoms]:
        """Read structures back. Raises CorruptFileError if they are not what was written."""
        return read_structures(self.workdir / reference["file"], reference["sha256"])

    def reference(self, path: Path) -> dict[str, str]:
        """Return a checked reference to a file of the work directory."""
        return {"file": str(path.relative_to(self.workdir)), "sha256": sha256_of(path)}

    def checked(self, reference: dict[str, str]) -> Path:
        """Return the path of a reference. Raises CorruptFileError if its content has changed."""
        path = self.workdir / reference["file"]
        if not path.is_file() or sha256_of(path) != reference["sha256"]:
            raise CorruptFileError(
                f"{path}: missing or changed since the campaign wrote it. Restore it from a copy, "
                "or start in a new work directory (finished labels can be taken along by copying "
                "the folder 'labels')"
            )
        return path
