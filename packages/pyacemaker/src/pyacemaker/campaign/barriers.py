"""The oracle's word on the barriers of a walk that completed.

gamma says whether a structure is like what was learnt, not whether a barrier is right: a walk
can complete over barriers that are far off. So minimum and saddle point of the processes that
matter are labelled, and the barriers compared. What is off by too much is learnt from, with the
way up to it, and the walk is made again.

The oracle's barrier is the difference of its energies at the potential's own minimum and saddle
point. It lies off the barrier of the oracle's own saddle by second order in what forces it finds
there, which are told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.budget import BudgetSpentError, labels_left
from pyacemaker.campaign.dataset import TRAIN
from pyacemaker.campaign.entries import BARRIERS_STEP as STEP
from pyacemaker.campaign.labelling import label_structures
from pyacemaker.campaign.learning import save_checks
from pyacemaker.dynamics.kmc.table import State, StateTable
from pyacemaker.provenance import provenance_of, tag
from pyacemaker.validator.base import CheckResult

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

# The same gate on a walk that shares nothing with what was learnt.
INDEPENDENT = "barriers_of_independent_walk"
GENERATOR = "barrier"
# Where on the way from the minimum to the saddle point, and from there on to the next minimum.
_ON_THE_WAY_UP, _ON_THE_WAY_DOWN = (1 / 3, 2 / 3), (0.5,)


@dataclass(frozen=True)
class Process:
    """A way out of a state, by the potential: structures and barrier (eV).

    `minimum` and `saddle` are places in the list of structures that are labelled with it.
    """

    state: int
    mechanism: int
    barrier_eV: float
    minimum: int
    saddle: int
    way: tuple[Atoms, ...]


@dataclass(frozen=True)
class Processes:
    """What the oracle is asked for: processes, lowest barrier first, and their structures."""

    found: tuple[Process, ...]
    structures: tuple[Atoms, ...]


def hold(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    runs: dict[str, Any],
) -> bool:
    """Compare the barriers of a completed walk with the oracle's, and say whether they hold.

    True where nothing walked. Raises BudgetSpentError where no label is left to compare with.
    """
    if not any(run.get("kind") == "kmc" for run in runs["runs"]):
        return True

    def work(_: np.random.Generator) -> dict[str, Any]:
        asked = processes_of(campaign, fit, runs, f"{STEP}-{iteration:03d}", labels_left(campaign))
        if not asked.found:
            raise BudgetSpentError(
                f"the budget of {campaign.settings.budget.labels} labels leaves none to compare "
                "barriers with"
            )
        roles = [TRAIN] * len(asked.structures)
        labelled = label_structures(
            campaign, iteration, STEP, list(asked.structures), roles, prepared
        )
        check = judged(campaign, asked, labelled["keys"])
        campaign.journal.note(
            iteration, STEP, f"{'go' if check.passed else 'NO-GO'}: {check.reason}"
        )
        saved = save_checks(campaign, iteration, STEP, [check])
        return {**labelled, **saved, "passed": check.passed}

    return bool(campaign.journal.step(iteration, STEP, work)["passed"])


def processes_of(
    campaign: Campaign, fit: dict[str, Any], runs: dict[str, Any], group: str, most_labels: int
) -> Processes:
    """Return the processes of the walks among `runs` that matter, with what is to be labelled.

    Of every state known with this potential those within the walk's window of the lowest
    barrier; of all these the lowest, at most `kmc.barriers_checked`, and no more than
    `most_labels` structures.
    """
    from pyacemaker.dynamics.kmc.search import is_relevant

    settings = campaign.settings.kmc
    if settings is None:
        return Processes((), ())
    ways = []
    for walk, run in enumerate(runs["runs"]):
        if run.get("kind") != "kmc":
            continue
        with StateTable(campaign.journal.checked(run["table"])) as table:
            states = [s for s in table.states() if s.potential == fit["manifest"]["sha256"]]
        for state in states:
            ways += [
                (one.barrier_eV, walk, state.number, state, one)
                for one in state.mechanisms
                if is_relevant(one, state.mechanisms, settings)
            ]
    ways.sort(key=lambda way: (*way[:3], way[4].number))
    structures: list[Atoms] = []
    minima: dict[tuple[int, int], int] = {}
    found: list[Process] = []
    for barrier, walk, number, state, one in ways[: settings.barriers_checked]:
        place = minima.get((walk, number))
        if len(structures) + (2 if place is None else 1) > most_labels:
            break
        if place is None:
            place = minima[walk, number] = len(structures)
            structures.append(_moved(state, None, group, "minimum"))
        saddle = _moved(state, one.saddle, group, "saddle")
        up = [_moved(state, part * one.saddle, group, "way") for part in _ON_THE_WAY_UP]
        down = [
            _moved(state, one.saddle + part * (one.product - one.saddle), group, "way")
            for part in _ON_THE_WAY_DOWN
        ]
        found.append(
            Process(number, one.number, barrier, place, len(structures), (saddle, *up, *down))
        )
        structures.append(saddle)
    return Processes(tuple(found), tuple(structures))


def _moved(state: State, moved: np.ndarray | None, group: str, place: str) -> Atoms:
    """Return a structure of a state, without constraints; what was held is in its provenance."""
    from pyacemaker.dynamics.kmc.geometry import free_atoms

    atoms: Atoms = state.atoms.copy()
    atoms.set_constraint()
    if moved is not None:
        atoms.positions += moved
    free = set(free_atoms(state.atoms).tolist())
    held = [index for index in range(len(atoms)) if index not in free]
    return tag(atoms, GENERATOR, f"{group}-{state.number}", place=place, held=held)


def judged(
    campaign: Campaign, asked: Processes, keys: Sequence[str | None], name: str = STEP
) -> CheckResult:
    """Return the gate on barriers, from the labels of the structures that were asked for.

    `keys` are in the order of `asked.structures`. The structures of what is off by too much are
    the saddle point and those on the way over it.
    """
    settings = campaign.settings.kmc
    assert settings is not None  # noqa: S101 - resolved wherever kmc explores
    rows: list[dict[str, float]] = []
    wrong: list[Atoms] = []
    worst = 0.0
    for process in asked.found:
        labels = [
            campaign.store.get(key) if key else None
            for key in (keys[process.minimum], keys[process.saddle])
        ]
        if labels[0] is None or labels[1] is None:
            continue
        ends = [label.atoms for label in labels if label is not None]
        oracle = float(ends[1].get_potential_energy() - ends[0].get_potential_energy())
        error = process.barrier_eV - oracle
        held = provenance_of(asked.structures[process.saddle])["held"]
        rows.append(
            {
                "state": process.state,
                "mechanism": process.mechanism,
                "barrier_eV": process.barrier_eV,
                "oracle_barrier_eV": oracle,
                "error_eV": error,
                "force_at_minimum_eV_per_A": _largest_force(ends[0], held),
                "force_at_saddle_eV_per_A": _largest_force(ends[1], held),
            }
        )
        worst = max(worst, abs(error))
        if abs(error) > settings.barrier_error_eV:
            wrong += process.way
    if not rows:
        return CheckResult(name, False, "the oracle could label no process from end to end")
    force = max(row["force_at_saddle_eV_per_A"] for row in rows)
    told = ", ".join(f"{r['barrier_eV']:.3f} ({r['oracle_barrier_eV']:.3f})" for r in rows)
    return CheckResult(
        name,
        worst <= settings.barrier_error_eV,
        f"barriers {told} eV by the potential (by the oracle at the same structures): at most "
        f"{worst:.3f} eV off, {settings.barrier_error_eV:g} eV allowed; the oracle's forces at "
        f"the saddle points reach {force:.2f} eV/angstrom",
        {"largest_barrier_error_eV": worst, "largest_force_at_saddle_eV_per_A": force},
        {"processes": rows},
        tuple(wrong),
    )


def _largest_force(labelled: Atoms, held: Sequence[int]) -> float:
    """Return the largest force (eV/angstrom) on an atom that the walk did not hold."""
    forces = np.linalg.norm(labelled.get_forces(apply_constraint=False), axis=1)
    free = np.ones(len(forces), dtype=bool)
    free[list(held)] = False
    return float(forces[free].max())


def wrong_saddles(campaign: Campaign, iteration: int) -> tuple[list[Atoms], list[Atoms]]:
    """Return the saddle points `iteration` found wrong, and structures on the way over them."""
    done = campaign.state.result(iteration, STEP)
    if done is None or done["passed"]:
        done = campaign.state.result(iteration, "certificate")
    if done is None:
        return [], []
    found = [
        atoms
        for atoms in campaign.journal.load(done["failure_structures"])
        if provenance_of(atoms)["generator"] == GENERATOR
    ]
    saddles = [atoms for atoms in found if provenance_of(atoms)["place"] == "saddle"]
    return saddles, [atoms for atoms in found if provenance_of(atoms)["place"] == "way"]
