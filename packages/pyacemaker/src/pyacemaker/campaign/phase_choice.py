"""Which of the phases that were labelled are learnt: judged by the oracle, chosen by the hull."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from pyacemaker.campaign.entries import PHASES_STEP
from pyacemaker.generator.phases import formula_of
from pyacemaker.oracle.base import Oracle
from pyacemaker.oracle.settings import ASESettings, RootstockSettings
from pyacemaker.validator.settings import Gate, ValidationSettings

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

PROPERTY_GATES: tuple[Gate, ...] = ("eos", "elastic", "phonons")
"""Gates that say whether a crystal is stable; the others judge the potential alone."""

ON_HULL_EV_PER_ATOM = 0.005
"""What counts as stable, and as equal: the usual error of a relaxed energy, and the size of
what a prototype search leaves out (vibrations, longer orderings)."""

MOST_PHASES = 5
LOWER_EV_PER_ATOM = 5e-4
"""How much lower a state has to lie to be another one: far below the errors of any fit, and a
fiftieth of the thermal energy at room temperature."""

_MOST_JUDGED = 8
_MOST_FALLS = 3


@dataclass(frozen=True)
class Task:
    """A crystal to relax, or to judge, by the oracle itself; picklable."""

    atoms: Atoms
    oracle: Oracle
    settings: ValidationSettings
    workdir: Path


@dataclass(frozen=True)
class Phase:
    """A candidate relaxed and labelled: its energy and that above the hull, both eV/atom."""

    name: str
    atoms: Atoms
    measured: bool
    energy: float
    above_hull: float = float("nan")

    @property
    def formula(self) -> str:
        """Smallest formula."""
        return formula_of(self.atoms.get_chemical_symbols())


Fall = Callable[[Phase, Sequence[Atoms]], list[Phase]]
"""Returns what displaced cells of an unstable phase fall into, labelled, lowest first."""


def holds_all(atoms: Atoms, campaign: Campaign) -> bool:
    """Say whether a crystal holds every element of the campaign."""
    return set(atoms.get_chemical_symbols()) == set(campaign.settings.elements)


def is_cheap(oracle_settings: object) -> bool:
    """Say whether an evaluation by this oracle takes milliseconds."""
    return isinstance(oracle_settings, ASESettings | RootstockSettings)


def _judge_one(task: Task) -> tuple[str, tuple[Atoms, ...]]:
    """Return why the oracle's own gates refuse a phase, and cells displaced the way it gives.

    Both are empty where they pass.
    """
    from pyacemaker.oracle.calculator import OracleCalculator
    from pyacemaker.validator.run import make_checks

    task.workdir.mkdir(parents=True, exist_ok=True)
    calculator = OracleCalculator(task.oracle, task.workdir)
    for gate in make_checks(task.settings):
        result = gate.run(calculator, task.atoms, ())
        if not result.passed:
            displaced = () if gate.name == "eos" else result.failure_structures
            return f"{gate.name}: {result.reason}", displaced
    return "", ()


class _Judge:
    """Puts phases through the gates of physics with the oracle itself, several at once."""

    def __init__(self, campaign: Campaign, oracle: Oracle) -> None:
        self.campaign = campaign
        self.oracle = oracle
        self.verdicts: dict[str, str] = {}
        self.displaced: dict[str, tuple[Atoms, ...]] = {}
        self.shallow: set[str] = set()
        own = campaign.settings.validation
        self._gates = [gate for gate in PROPERTY_GATES if gate in own.gates]
        self.settings = own.model_copy(
            update={
                "gates": tuple(self._gates) or ("eos",),
                "reference": {},
                "max_atoms": max(own.max_atoms, campaign.settings.selection.max_atoms),
                "phonon_min_edge_A": min(own.phonon_min_edge_A, 8.0),
                "phonon_mesh_length_A": min(own.phonon_mesh_length_A, 25.0),
            }
        )
        self.asks = is_cheap(campaign.settings.oracle) and bool(self._gates)

    def look(self, phases: Sequence[Phase]) -> None:
        """Judge those that are not yet."""
        new = [phase for phase in phases if phase.name not in self.verdicts]
        if not self.asks:
            self.verdicts |= {phase.name: "" for phase in new}
            return
        folder = self.campaign.journal.folder(0) / "phases"
        tasks = [Task(p.atoms, self.oracle, self.settings, folder) for p in new]
        if tasks:
            names = ", ".join(phase.name for phase in new)
            text = f"judging by the oracle itself ({', '.join(self.settings.gates)}): {names}"
            self.campaign.journal.note(0, PHASES_STEP, text)
        for done, outcome in enumerate(self.campaign.executor.map_unordered(_judge_one, tasks), 1):
            if outcome.value is None:
                raise outcome.error or RuntimeError("a phase's gates returned nothing")
            name = new[outcome.index].name
            self.verdicts[name], self.displaced[name] = outcome.value
            self.campaign.journal.progress(done, len(tasks))
        for phase in new:
            if why := self.verdicts[phase.name]:
                self.campaign.journal.note(
                    0, PHASES_STEP, f"{phase.name} is unstable to the oracle itself: {why}"
                )

    def first(self, phases: Sequence[Phase], at_once: int) -> Phase | None:
        """Return the first phase that passes, looking at a few at a time."""
        tried = phases[:_MOST_JUDGED]
        for begin in range(0, len(tried), at_once):
            group = tried[begin : begin + at_once]
            self.look(group)
            for phase in group:
                if not self.verdicts[phase.name]:
                    return phase
        return None


def choose(
    campaign: Campaign, oracle: Oracle, phases: Sequence[Phase], fall: Fall
) -> tuple[list[Phase], list[dict[str, str]]]:
    """Return the reference first, then the other stable phases, at most MOST_PHASES, and why.

    Of one composition, crystals within ON_HULL_EV_PER_ATOM of each other are alike to this
    look: a measured one goes first, then the smaller cell. Where no compound on the hull is
    stable to the oracle, `fall` says what the lowest one falls into: that, if it is stable, or
    the crystal itself, if it is nothing lower.
    """
    judge = _Judge(campaign, oracle)
    at_once = max(1, campaign.settings.workers)
    groups: dict[str, list[Phase]] = {}
    for phase in phases:  # lowest above the hull first
        groups.setdefault(phase.formula, []).append(phase)
    ranked = {formula: _ranked(group) for formula, group in groups.items()}
    compounds = {f: group for f, group in ranked.items() if holds_all(group[0].atoms, campaign)}
    stable = [group for group in ranked.values() if group[0].above_hull <= 2 * ON_HULL_EV_PER_ATOM]
    judge.look([group[0] for group in stable[: MOST_PHASES + 1]])
    chosen = []
    for group in stable:
        near = [p for p in group if p.above_hull <= group[0].above_hull + 2 * ON_HULL_EV_PER_ATOM]
        if (found := judge.first(near, 1)) is not None and found.above_hull <= (
            2 * ON_HULL_EV_PER_ATOM
        ):
            chosen.append(found)
    main = next((p for p in chosen if holds_all(p.atoms, campaign)), None)
    if main is None and compounds:
        rest = sorted(
            (phase for group in compounds.values() for phase in group),
            key=lambda phase: phase.above_hull,
        )
        main = _fallen(judge, rest[0], fall) or judge.first(rest, at_once) or rest[0]
    others = [phase for phase in chosen if main is None or phase.name != main.name]
    selected = [*([main] if main else []), *_ends_first(others)][:MOST_PHASES]
    decisions = []
    for phase in selected:
        what, why = _say(phase, judge, reference=phase is main)
        campaign.journal.note(0, PHASES_STEP, f"{what}: {why}")
        decisions.append({"what": what, "why": why})
    return selected, decisions


def _fallen(judge: _Judge, phase: Phase, fall: Fall) -> Phase | None:
    """Return the first stable state on the way down from `phase`; None where there is none.

    A saddle that nothing lies below stays: its wells are too shallow for any label to show.
    """
    for _ in range(_MOST_FALLS):
        judge.look([phase])
        displaced = judge.displaced.get(phase.name, ())
        lower = fall(phase, displaced)
        if not lower:
            if displaced:
                judge.shallow.add(phase.name)
            return phase if displaced else None
        if found := judge.first(lower[:2], 2):
            return found
        phase = lower[0]
    return None


def _ranked(group: Sequence[Phase]) -> list[Phase]:
    lowest = min(phase.above_hull for phase in group)
    return sorted(
        group,
        key=lambda p: (
            int((p.above_hull - lowest) / ON_HULL_EV_PER_ATOM),
            not p.measured,
            len(p.atoms),
            p.above_hull,
        ),
    )


def _ends_first(phases: Sequence[Phase]) -> list[Phase]:
    """Return the elements before the compounds: they are the ends of every composition."""
    return sorted(phases, key=lambda phase: len(set(phase.atoms.get_chemical_symbols())) > 1)


def _say(phase: Phase, judge: _Judge, *, reference: bool) -> tuple[str, str]:
    height = 1000 * phase.above_hull
    words = [
        "is on the hull" if height < 0.05 else f"is {height:.1f} meV/atom above the hull",
    ]
    if judge.asks:
        passed = not judge.verdicts.get(phase.name, "")
        words.append("passes the oracle's own gates" if passed else "fails the oracle's own gates")
        if phase.name in judge.shallow:
            most = 1000 * LOWER_EV_PER_ATOM
            words[-1] += f", but falls into nothing more than {most:g} meV/atom lower"
    what = "the reference" if reference else "a stable phase"
    return f"{phase.name} is {what}", f"it {' and '.join(words)}"
