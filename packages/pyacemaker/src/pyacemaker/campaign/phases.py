"""The stable phases of a material of several elements, by the oracle's own energies.

Which crystal a table gives for two elements says little about the oracle: a classical
potential finds other ones stable than nature does, and DFT sometimes too. So prototypes are
put to the oracle: each at its own relaxed volume, then on the convex hull of them all.

    candidates  prototypes of compounds and of the elements (`generator.phases`)
    relaxed     with a cheap oracle volume, shape and positions; by DFT the volume alone,
                from a few labels of a scan
    labelled    each relaxed cell is a label, kept to learn from
    judged      with a cheap oracle: the oracle itself must pass the gates of physics on a
                phase; nothing it finds unstable can be certified. Where no compound near the
                hull passes, what the lowest one falls into is a candidate too (`relaxing`)
    chosen      what is on the hull; the reference cell is the compound of all elements
                nearest to it

The step is done once. A phase is judged by evaluations that are not kept (milliseconds);
all labels are in the store, so a killed run computes none of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.dataset import TRAIN
from pyacemaker.campaign.entries import PHASES_STEP
from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.labelling import label_batch
from pyacemaker.campaign.phase_choice import Phase, choose, holds_all, is_cheap
from pyacemaker.campaign.relaxing import lower_states, relaxed_candidates, with_cell
from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.phases import Candidate, candidate_phases, phase_name
from pyacemaker.oracle.base import Oracle

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

# By DFT a candidate costs a few labels of a small cell.
_MOST_BY_DFT = 6
_SCAN = (0.9, 1.0, 1.1)
_BUDGET_SHARE = 0.25


def is_searched(campaign: Campaign) -> bool:
    """Say whether the phases are looked for: several elements and no structure of the user's."""
    settings = campaign.settings
    return len(settings.elements) > 1 and settings.structure.kind == "reference"


def find_phases(campaign: Campaign, oracle: Oracle, expected: Atoms) -> tuple[Atoms, ...]:
    """Return the reference cell and the other stable phases, each relaxed by the oracle.

    `expected` is the table's reference cell; it alone is returned where nothing is searched,
    and it stays the reference where no candidate holds all elements.
    """
    if not is_searched(campaign):
        return (expected,)
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        found, keys, failures = _labelled(campaign, oracle, expected)

        def fall(phase: Phase, displaced: Sequence[Atoms]) -> list[Phase]:
            lower = lower_states(campaign, oracle, phase, displaced)
            new = _phases(campaign, oracle, lower, keys, failures)
            found[:] = _against_hull([*found, *new])
            names = {p.name for p in new}
            fallen = [p for p in found if p.name in names]
            _note_fall(campaign, phase, fallen)
            return fallen

        chosen, decisions = choose(campaign, oracle, tuple(found), fall)
        if not any(holds_all(phase.atoms, campaign) for phase in chosen):
            journal.note(0, PHASES_STEP, f"no compound was found: {phase_name(expected)} stays")
            structures = [expected, *(phase.atoms for phase in chosen)]
        else:
            structures = [phase.atoms for phase in chosen]
        return {
            "phases": journal.save(journal.folder(0) / "phases.json", structures),
            "hull": [
                [phase.name, phase.formula, phase.energy, phase.above_hull] for phase in found
            ],
            "keys": keys,
            "roles": [TRAIN] * len(keys),
            "failures": failures,
            "decisions": decisions,
        }

    return tuple(journal.load(journal.step(0, PHASES_STEP, work)["phases"]))


def _labelled(
    campaign: Campaign, oracle: Oracle, expected: Atoms
) -> tuple[list[Phase], list[str | None], dict[str, str]]:
    """Return every candidate relaxed, labelled and placed against the hull, lowest first."""
    settings = campaign.settings
    most_atoms = max(settings.selection.max_atoms, len(expected))
    try:
        candidates = candidate_phases(settings.elements, most_atoms, settings.compositions)
    except GeneratorError as error:
        raise CampaignError(f"compositions: {error}") from error
    cheap = is_cheap(settings.oracle)
    each = 1 if cheap else len(_SCAN) + 1
    affordable = max(4, int(_BUDGET_SHARE * settings.budget.labels / each))
    candidates = _likely(candidates, affordable if cheap else min(affordable, _MOST_BY_DFT))
    keys: list[str | None] = []
    failures: dict[str, str] = {}
    relaxed = (
        relaxed_candidates(campaign, oracle, candidates)
        if cheap
        else _at_best_volume(campaign, oracle, candidates, keys, failures)
    )
    phases = _phases(campaign, oracle, relaxed, keys, failures)
    if not phases:
        raise CampaignError(
            "the oracle could neither relax nor label any crystal of "
            f"{', '.join(settings.elements)}; name the material's cell (structure)"
        )
    return _against_hull(phases), keys, failures


def _phases(
    campaign: Campaign,
    oracle: Oracle,
    relaxed: Sequence[Candidate],
    keys: list[str | None],
    failures: dict[str, str],
) -> list[Phase]:
    """Label relaxed candidates; add to `keys` and `failures`. Not yet placed on the hull."""
    batch = label_batch(
        [candidate.atoms for candidate in relaxed],
        oracle,
        campaign.store,
        campaign.executor,
        campaign.journal.progress,
    )
    failures |= batch.failures
    phases = []
    for candidate, key in zip(relaxed, batch.keys, strict=True):
        label = campaign.store.get(key) if key is not None else None
        if label is None:
            continue
        keys.append(key)
        energy = float(label.atoms.get_potential_energy()) / len(candidate.atoms)
        phases.append(Phase(candidate.name, candidate.atoms, candidate.measured, energy))
    return phases


def _note_fall(campaign: Campaign, phase: Phase, lower: Sequence[Phase]) -> None:
    words = ", ".join(f"{p.name} ({1000 * (p.energy - phase.energy):.1f} meV/atom)" for p in lower)
    text = f"displaced along its soft modes {phase.name} falls into {words or 'nothing lower'}"
    campaign.journal.note(0, PHASES_STEP, text)


def _likely(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Return at most `most`: the measured crystals first, then one of each composition in turn."""
    seen: dict[str, int] = {}
    ranked = []
    for order, candidate in enumerate(candidates):
        turn = seen[candidate.formula] = seen.get(candidate.formula, 0) + 1
        ranked.append((not candidate.measured, turn, order, candidate))
    kept = sorted(ranked, key=lambda row: row[:3])[:most]
    return [candidate for *_, candidate in sorted(kept, key=lambda row: row[2])]


def _at_best_volume(
    campaign: Campaign,
    oracle: Oracle,
    candidates: list[Candidate],
    keys: list[str | None],
    failures: dict[str, str],
) -> list[Candidate]:
    """Label a scan of volumes of each and return it at the volume of the lowest energy."""
    from pyacemaker.generator.contact import scaled_to_volume

    scans = [
        [
            with_cell(c, scaled_to_volume(c.atoms, f * float(c.atoms.get_volume()))).atoms
            for f in _SCAN
        ]
        for c in candidates
    ]
    flat = [atoms for scan in scans for atoms in scan]
    batch = label_batch(flat, oracle, campaign.store, campaign.executor, campaign.journal.progress)
    failures |= batch.failures
    keys += [key for key in batch.keys if key is not None]
    relaxed = []
    for number, candidate in enumerate(candidates):
        rows = slice(number * len(_SCAN), (number + 1) * len(_SCAN))
        labels = [campaign.store.get(key) if key else None for key in batch.keys[rows]]
        points = [
            (label.atoms.get_volume(), label.atoms.get_potential_energy())
            for label in labels
            if label is not None
        ]
        if len(points) == len(_SCAN):
            volume = best_volume(points)
            relaxed.append(with_cell(candidate, scaled_to_volume(candidate.atoms, volume)))
    return relaxed


def best_volume(points: Sequence[tuple[float, float]]) -> float:
    """Return the volume (angstrom^3) of the lowest energy of a parabola in 1/V^(2/3).

    `points` are volumes and energies (eV), three or more: the form of Birch's equation of
    state to second order. Never further than 10 % outside of what was scanned.
    """
    volumes = np.array([volume for volume, _ in points])
    x = volumes ** (-2 / 3)
    curvature, slope, _ = np.polyfit(x, [energy for _, energy in points], 2)
    lowest, highest = 0.9 * volumes.min(), 1.1 * volumes.max()
    if curvature <= 0:
        return float(volumes[int(np.argmin([energy for _, energy in points]))])
    at = -slope / (2 * curvature)
    return float(np.clip(at**-1.5 if at > 0 else highest, lowest, highest))


def _against_hull(phases: list[Phase]) -> list[Phase]:
    from pyacemaker.validator.test_error import energies_above_hull

    energies = np.array([phase.energy for phase in phases])
    above = energies_above_hull(energies, [p.atoms.get_chemical_symbols() for p in phases])
    placed = [
        Phase(p.name, p.atoms, p.measured, p.energy, float(height))
        for p, height in zip(phases, above, strict=True)
    ]
    return sorted(placed, key=lambda phase: (phase.above_hull, phase.name))
