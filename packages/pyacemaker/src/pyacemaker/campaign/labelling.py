"""Label a batch: what the store has is taken from it, the rest runs in parallel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.campaign.errors import CampaignError
from pyacemaker.execution.base import Executor
from pyacemaker.files import locked
from pyacemaker.labels import Failure, LabelStore
from pyacemaker.oracle.base import Label, Oracle, OracleError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

# More failures than this share of at least so many structures is no accident.
_MAX_FAILED_SHARE, _MIN_TRIED = 0.5, 6
# After so many labels of a batch, more failures than this share end it.
_SOON, _NEARLY_ALL = 20, 0.8
# Classes of failure that say nothing about the structure: it is tried again in a next run.
_MACHINE = frozenset({"disk_full", "program_missing", "mpi_failure", "terminated", "file_error"})


@dataclass(frozen=True)
class Batch:
    """Keys in the order of the structures (None where labelling failed) and the failures."""

    keys: tuple[str | None, ...]
    failures: dict[str, str]
    computed: int


@dataclass(frozen=True)
class _Task:
    atoms: Atoms
    oracle: Oracle
    store: Path
    key: str


def _label_one(task: _Task) -> str:
    """Label one structure and store it at once, in the worker: nothing waits in memory.

    A worker that was taken for dead may be at it still, or may have finished it before it was
    lost: one at a time, and none twice.
    """
    store = LabelStore(task.store)
    workdir = store.workdir(task.key)
    with locked(workdir / ".lock"):
        return task.key if store.contains(task.key) else _labelled(task, store, workdir)


def _labelled(task: _Task, store: LabelStore, workdir: Path) -> str:
    label = task.oracle.label(task.atoms, workdir)
    # The label belongs to the structure that was asked for, whatever box or order of atoms
    # the code was given.
    atoms = task.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **label.atoms.calc.results)
    key = store.put(Label(atoms, label.settings, label.meta))
    if key != task.key:
        raise RuntimeError(
            f"the {task.oracle.name} oracle labelled with other settings than it announced: "
            f"{dict(label.settings)} instead of {task.oracle.settings(task.atoms)}"
        )
    return key


def _of_the_machine(failure: Failure) -> bool:
    attempts = failure.meta.get("attempts") or [{}]
    return attempts[-1].get("class") in _MACHINE


def too_many_failed(diagnoses: Sequence[str], tried: int, store: LabelStore) -> CampaignError:
    """Return the error that ends a campaign whose labels fail, with the commonest reasons."""
    counts = Counter(_kind(diagnosis) for diagnosis in diagnoses).most_common(3)
    kinds = ", ".join(f"{count} x {kind}" for kind, count in counts)
    return CampaignError(
        f"{len(diagnoses)} of {tried} labels failed ({kinds}), the first with: {diagnoses[0]}. "
        f"See {store.directory / 'failed'}; mend the cause, then run again with --retry-failed"
    )


def _kind(diagnosis: str) -> str:
    """Return the class a diagnosis names (``Si2: walltime: ...``), or its first words."""
    parts = diagnosis.split(": ")
    return parts[1] if len(parts) > 2 and " " not in parts[1] else parts[0][:60]


def label_batch(
    structures: Sequence[Atoms],
    oracle: Oracle,
    store: LabelStore,
    executor: Executor,
    on_done: Callable[[int, int], None],
) -> Batch:
    """Label `structures`; `on_done(done, total)` is called as each is finished.

    A structure the oracle gives up on is recorded with its diagnosis and set aside; it is
    not tried again, unless what failed was the machine (a full disk, a program that is not
    there) and not the structure. Any other exception is a defect and is raised.

    Raises CampaignError as soon as nearly everything fails: the rest would fare no better.
    """
    keys = [store.key(atoms, oracle.settings(atoms)) for atoms in structures]
    known = {key: store.failure(key) for key in keys}
    failures = {
        key: failure.diagnosis
        for key, failure in known.items()
        if failure is not None and not _of_the_machine(failure)
    }
    missing: dict[str, Atoms] = {}
    for key, atoms in zip(keys, structures, strict=True):
        if key not in failures and not store.contains(key):
            missing.setdefault(key, atoms)
    done = len(set(keys)) - len(missing)
    total = len(set(keys))
    on_done(done, total)
    tasks = [_Task(atoms, oracle, store.directory, key) for key, atoms in missing.items()]
    failed_now: list[str] = []
    for tried, outcome in enumerate(executor.map_unordered(_label_one, tasks), start=1):
        if isinstance(outcome.error, OracleError):
            atoms = tasks[outcome.index].atoms
            key = store.put_failure(atoms, oracle.settings(atoms), outcome.error)
            failures[key] = outcome.error.diagnosis
            failed_now.append(outcome.error.diagnosis)
        elif outcome.error is not None:
            raise outcome.error
        done += 1
        on_done(done, total)
        if tried >= _SOON and len(failed_now) > _NEARLY_ALL * tried:
            raise too_many_failed(failed_now, tried, store)
    return Batch(tuple(None if key in failures else key for key in keys), failures, len(tasks))


def label_structures(
    campaign: Campaign,
    iteration: int,
    step: str,
    structures: list[Atoms],
    roles: list[str],
    prepared: Prepared,
) -> dict[str, Any]:
    """Label `structures` and return the result of a labelling step."""
    journal = campaign.journal
    batch = label_batch(
        structures, prepared.oracle, campaign.store, campaign.executor, journal.progress
    )
    for key, diagnosis in batch.failures.items():
        journal.note(iteration, step, f"label {key[:12]} failed: {diagnosis}")
    tried = len(set(batch.keys) - {None}) + len(batch.failures)
    if tried >= _MIN_TRIED and len(batch.failures) > _MAX_FAILED_SHARE * tried:
        raise too_many_failed(list(batch.failures.values()), tried, campaign.store)
    return {
        "keys": list(batch.keys),
        "roles": roles,
        "failures": batch.failures,
        "computed": batch.computed,
    }
