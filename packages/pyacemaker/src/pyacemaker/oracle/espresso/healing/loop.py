"""The loop of attempts: diagnose, change, run again, until it is well or nothing is left.

It ends because each handler may be used only so often, and no two attempts may be the same:
a job that was tried already and failed in the same way is not tried again (except where the
failure came from outside, and then only as often as its handler allows).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pyacemaker.oracle.espresso.healing.classes import OK
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.handlers import HANDLERS, Case, Handler, Job
from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput, differences

R = TypeVar("R")

RESTORED = "back to the standard settings, from the density of the last run"
# Failures that come from outside: the same job may do well the next time.
_FROM_OUTSIDE = frozenset(
    {"walltime", "time", "signal", "parallel", "files", "memory", "program", "pseudopotential"}
)


@dataclass(frozen=True)
class Attempt(Generic[R]):
    """One run of a job: what was changed and why, and what came of it.

    `physics` names the keys in which it differs from the standard settings in what is
    computed; the result of such a run is never a label.
    """

    number: int
    job: Job
    diagnosis: Diagnosis
    remedy: str | None
    reason: str | None
    changes: dict[str, tuple[Any, Any]]
    physics: tuple[str, ...] = ()
    result: R | None = None
    has_density: bool = False
    told: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record of the attempt: plain values."""
        return {
            "attempt": self.number,
            "remedy": self.remedy,
            "reason": self.reason,
            "changes": {key: list(pair) for key, pair in self.changes.items()},
            "physics": list(self.physics),
            "class": "converged" if self.diagnosis.ok else self.diagnosis.name,
            "family": self.diagnosis.family,
            "evidence": self.diagnosis.evidence,
            **(self.told or {}),
        }


@dataclass(frozen=True)
class Healed(Generic[R]):
    """What became of a job: a result at the standard settings, or why there is none."""

    attempts: tuple[Attempt[R], ...]
    result: R | None
    gave_up: str | None = None

    @property
    def remedies(self) -> list[str]:
        """Return the names of the remedies that were used, in order."""
        return [attempt.remedy for attempt in self.attempts if attempt.remedy is not None]


@dataclass(frozen=True)
class Ran(Generic[R]):
    """What running a job gave: a result (with an ``ok`` diagnosis) or a diagnosis alone."""

    diagnosis: Diagnosis
    result: R | None = None
    has_density: bool = False
    told: dict[str, Any] | None = None


Run = Callable[[int, Job], Ran[R]]


def heal(
    standard: PwInput,
    run: Run[R],
    *,
    max_attempts: int,
    handlers: Sequence[Handler] = HANDLERS,
) -> Healed[R]:
    """Run `standard`, and what the handlers make of it, until it gives a result.

    `run(number, job)` runs one attempt (numbered from 1). A result counts only at the
    standard settings: where a remedy changed the physics, one more attempt puts that back and
    starts from the density it found, and is allowed beyond `max_attempts`.
    """
    job = Job(standard)
    attempts: list[Attempt[R]] = []
    used: Counter[str] = Counter()
    physics: tuple[str, ...] = ()
    remedy: str | None = None
    reason: str | None = None
    before = standard
    while True:
        number = len(attempts) + 1
        ran = run(number, job)
        attempts.append(
            Attempt(
                number,
                job,
                ran.diagnosis,
                remedy,
                reason,
                differences(before, job.input),
                physics,
                ran.result,
                ran.has_density,
                ran.told,
            )
        )
        before = job.input
        if ran.diagnosis.name == OK:
            if not physics:
                return Healed(tuple(attempts), ran.result)
            if not ran.has_density:
                return Healed(tuple(attempts), None, "no density was saved to go back from")
            job = replace(job, input=_restored(job.input, standard, physics), density_from=number)
            remedy, physics = RESTORED, ()
            reason = "a label is only ever made at the standard settings"
            continue
        if number >= max_attempts:
            return Healed(tuple(attempts), None, f"{number} attempts are all that are allowed")
        case = Case(job, ran.diagnosis, number, ran.has_density)
        step = _next(case, attempts, used, handlers)
        if step is None:
            return Healed(tuple(attempts), None, "no remedy is left")
        handler, job = step
        used[handler.name] += 1
        remedy = handler.name
        reason = f"{ran.diagnosis.name}: {ran.diagnosis.evidence}"[:400]
        physics = tuple(dict.fromkeys([*physics, *handler.restores]))


def _next(
    case: Case, attempts: Sequence[Attempt[R]], used: Counter[str], handlers: Sequence[Handler]
) -> tuple[Handler, Job] | None:
    """Return the first handler that offers a job not tried yet, and the job."""
    tried = {_signature(attempt.job) for attempt in attempts}
    for handler in handlers:
        if case.diagnosis.name not in handler.recognises or used[handler.name] >= handler.at_most:
            continue
        job = handler.change(case)
        if job is None:
            continue
        if _signature(job) in tried and case.diagnosis.family not in _FROM_OUTSIDE:
            continue  # it would be the same again
        return handler, job
    return None


def _signature(job: Job) -> tuple[str, int | None, float, bool]:
    return job.input.text(), job.density_from, job.patience, job.plain_command


def _restored(changed: PwInput, standard: PwInput, keys: Sequence[str]) -> PwInput:
    """Return `changed` with `keys` as in `standard`, starting from the density on file."""
    for path in keys:
        name, _, key = path.partition(".")
        value = standard.get(name, key)
        changed = changed.without(name, key)
        if value is not None:
            changed = changed.changed(name, **{key: value})
    return changed.changed("ELECTRONS", startingpot="file")
