"""One attempt of pw.x in a scratch folder of its own, or what an earlier one left there."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pyacemaker.files import write_whole
from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.evidence import RECORD, Ending
from pyacemaker.oracle.espresso.healing.handlers import Job
from pyacemaker.oracle.espresso.healing.loop import Ran
from pyacemaker.oracle.espresso.pw_output import NoResultError
from pyacemaker.oracle.espresso.scratch import (
    Watchdog,
    drop_old_failures,
    lay_density,
    saved_density,
    tidy,
)
from pyacemaker.process import Finished, run_program

INPUT, OUTPUT = "pw.in", "pw.out"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What divides the work among processes; each takes a number.
_PARALLEL = re.compile(r"--?(nk|npools?|nt|ntg|nd|ndiag|northo|nb|nbgrp|ni|nimages?|nband)")

R = TypeVar("R")
Read = Callable[[Path, Path, Ending | None], R]


@dataclass(frozen=True)
class Limits:
    """What an attempt may use: seconds, seconds without output, and GB of memory and disk."""

    timeout_s: float
    stall_s: float = 3600.0
    max_memory_GB: float | None = None
    max_disk_GB: float = 20.0


@dataclass(frozen=True)
class Runner(Generic[R]):
    """Runs the attempts at one structure below `workdir`; the `Run` of `heal`.

    `lay_pseudopotentials` puts the files the input names into a folder; `read` returns the
    result in a folder, or raises NoResultError; `program` gives command line and variables,
    asked for only where something is run.
    """

    workdir: Path
    program: Callable[[], tuple[tuple[str, ...], Mapping[str, str]]]
    limits: Limits
    lay_pseudopotentials: Callable[[Path], None]
    read: Read[R]

    def __call__(self, number: int, job: Job) -> Ran[R]:
        """Run an attempt, or take what is there of the same input. Raises OracleError."""
        folder = self.folder(number)
        text = job.input.text()
        if (known := self._finished_before(folder, text)) is not None:
            return known
        command, variables = self.program()
        if job.plain_command:
            command = without_parallel_options(command)
        try:
            self._lay(folder, job, text)
        except OSError as error:
            if error.errno in _NO_ROOM:
                why = f"{folder}: {error.strerror}"
                return Ran(Diagnosis("disk_full", why), told={"recovered": False, "wall_s": 0.0})
            raise
        watchdog = Watchdog(
            folder,
            folder / OUTPUT,
            self.limits.timeout_s * job.patience,
            self.limits.stall_s,
            self.limits.max_memory_GB,
            self.limits.max_disk_GB,
        )
        try:
            finished = run_program(
                [*command, "-i", INPUT],
                cwd=folder,
                stdout=folder / OUTPUT,
                timeout_s=watchdog.timeout_s,
                env=variables,
                watch=watchdog,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise OracleError(
                f"{command[0]} cannot be started ({error.strerror}); correct oracle.command or "
                "leave it out to have Quantum ESPRESSO installed",
                {"attempts": [{"class": "program_missing", "family": "program"}]},
            ) from error
        ending = _ending(finished)
        _record(folder, finished, ending)
        ran = self._outcome(folder, ending, recovered=False)
        if watchdog.asked and ran.diagnosis.name == "stopped_by_user":
            ran = replace(ran, diagnosis=_out_of_time(ran.diagnosis, watchdog.timeout_s))
        tidy(folder, keep_density=True)
        return ran

    def folder(self, number: int) -> Path:
        """Return the folder of an attempt."""
        return self.workdir / f"attempt_{number}"

    def clean(self) -> None:
        """Remove the densities of all attempts: the structure is labelled."""
        for folder in self.workdir.glob("attempt_*"):
            tidy(folder, keep_density=False)

    def _lay(self, folder: Path, job: Job, text: str) -> None:
        if job.clear_scratch:
            drop_old_failures(self.workdir.parent, 0.0, spare=self.workdir)
            self.clean()
        shutil.rmtree(folder, ignore_errors=True)  # a stale or partial run counts for nothing
        folder.mkdir(parents=True)
        self.lay_pseudopotentials(folder)
        if job.density_from is not None:
            source = saved_density(self.folder(job.density_from))
            if source is not None:
                lay_density(source, folder)
        write_whole(folder / INPUT, text)

    def _outcome(self, folder: Path, ending: Ending | None, *, recovered: bool) -> Ran[R]:
        told: dict[str, Any] = {"recovered": recovered, "wall_s": _wall_s(folder)}
        try:
            result = self.read(folder, folder / OUTPUT, ending)
        except NoResultError as error:
            return Ran(error.diagnosis, None, _has_density(folder, ending), told)
        return Ran(Diagnosis("ok", "converged"), result, _has_density(folder, ending), told)

    def _finished_before(self, folder: Path, text: str) -> Ran[R] | None:
        """Return what an earlier run with the same input found, where it came to its end."""
        try:
            if (folder / INPUT).read_text() != text:
                return None
            output = (folder / OUTPUT).read_text(errors="replace")
        except (OSError, ValueError):
            return None
        ran = self._outcome(folder, None, recovered=True)
        if ran.result is not None:
            return ran
        # Not to converge is as final as to converge: it would be the same again.
        ended = "JOB DONE." in output and ran.diagnosis.family == "scf"
        return ran if ended else None


def without_parallel_options(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command line without the options for pools, bands, images and the like."""
    kept: list[str] = []
    skip = False
    for word in command:
        if skip:
            skip = False
        elif _PARALLEL.fullmatch(word):
            skip = True
        else:
            kept.append(word)
    return tuple(kept)


def _out_of_time(diagnosis: Diagnosis, limit_s: float) -> Diagnosis:
    why = f"asked to stop before its time limit ({limit_s:g} s), with its density saved"
    return replace(diagnosis, name="walltime", evidence=why)


def _ending(finished: Finished) -> Ending:
    stopped = "timeout" if finished.timed_out else finished.stopped
    return Ending(finished.returncode, stopped, round(finished.wall_s, 3))


def _record(folder: Path, finished: Finished, ending: Ending) -> None:
    content = {
        "wall_s": ending.wall_s,
        "ended": finished.describe(),
        "returncode": ending.returncode,
        "stopped": ending.stopped,
    }
    try:
        write_whole(folder / RECORD, json.dumps(content))
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise


def _has_density(folder: Path, ending: Ending | None) -> bool:
    """Say whether a whole density was saved: not by a run that was killed while it wrote."""
    if ending is not None and ((ending.returncode or 0) < 0 or ending.stopped is not None):
        return False
    return saved_density(folder) is not None


def _wall_s(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / RECORD).read_text())["wall_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # killed between the end of pw.x and our note of it
