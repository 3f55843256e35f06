"""Crystals relaxed by the oracle: prototypes to its own cells, saddles down to what it holds.

A crystal with an imaginary phonon, or one that is soft against a strain, is a saddle of the
oracle's energy. Displaced along that mode and relaxed without its symmetry it falls into a
crystal of lower symmetry that no table of prototypes has: the tilted and distorted variants in
which oxides abound. The oracle alone can name it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ase import Atoms

from pyacemaker.campaign.entries import PHASES_STEP
from pyacemaker.campaign.phase_choice import LOWER_EV_PER_ATOM, Phase, Task
from pyacemaker.generator.phases import Candidate
from pyacemaker.oracle.base import Oracle
from pyacemaker.provenance import provenance_of, tag
from pyacemaker.validator.evaluation import PotentialError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.validator.relax import Relaxed

_MOST_STARTS = 6
_SYMPREC_A = 0.03
# The start is a guess of 10 to 15 %, and a prototype may be far from what it becomes.
_ROUGH: dict[str, Any] = {
    "relax_fmax_eV_per_A": 2e-3,
    "relax_accept_fmax_eV_per_A": 0.02,
    "relax_max_steps": 60,
    "max_volume_change": 0.6,
}


def relaxed_candidates(
    campaign: Campaign, oracle: Oracle, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Relax volume, shape and positions by the oracle; what collapses or explodes is left out."""
    found = _relaxed(campaign, oracle, [candidate.atoms for candidate in candidates])
    failed = [c.name for index, c in enumerate(candidates) if index not in found]
    if failed:
        text = f"{', '.join(sorted(failed))} could not be relaxed"
        campaign.journal.note(0, PHASES_STEP, text)
    return [with_cell(candidates[index], found[index].atoms) for index in sorted(found)]


def lower_states(
    campaign: Campaign, oracle: Oracle, phase: Phase, displaced: Sequence[Atoms]
) -> list[Candidate]:
    """Return what `displaced` cells of an unstable phase fall into, lowest first.

    Only what lies `LOWER_EV_PER_ATOM` below `phase`, the lowest of each space group, in its
    primitive cell.
    """
    most = campaign.settings.selection.max_atoms
    starts = [atoms for atoms in displaced if len(atoms) <= most][:_MOST_STARTS]
    found = _relaxed(campaign, oracle, starts)
    lowest: dict[str, Atoms] = {}
    for state in sorted(found.values(), key=lambda state: state.energy_eV / len(state.atoms)):
        energy = state.energy_eV / len(state.atoms)
        cell, symbol = primitive_cell(state.atoms)
        if energy < phase.energy - LOWER_EV_PER_ATOM:
            lowest.setdefault(symbol, cell)
    return [_below(phase, symbol, cell) for symbol, cell in lowest.items()]


def primitive_cell(atoms: Atoms) -> tuple[Atoms, str]:
    """Return the primitive cell as relaxed, and its space group (Hermann-Mauguin)."""
    import spglib

    crystal = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    data = spglib.get_symmetry_dataset(crystal, symprec=_SYMPREC_A)
    cell = spglib.standardize_cell(crystal, to_primitive=True, symprec=_SYMPREC_A)
    if data is None or cell is None:
        return atoms.copy(), "P1"
    lattice, scaled, numbers = cell
    return (
        Atoms(numbers=numbers, cell=lattice, scaled_positions=scaled, pbc=True),
        str(data.international),
    )


def with_cell(candidate: Candidate, atoms: Atoms) -> Candidate:
    """Return the candidate with another cell; it keeps its provenance."""
    cell = atoms.copy()
    known = provenance_of(candidate.atoms)
    tag(cell, **{**known, "generator": "phase", "group": str(known["group"])})
    return Candidate(candidate.name, cell, candidate.measured)


def _below(phase: Phase, symbol: str, cell: Atoms) -> Candidate:
    kind, formula = phase.name.split()[0].partition(":")[0], phase.formula
    name = f"{kind}:{symbol} {formula}"
    if name == phase.name:  # further down in the same group
        name = f"{kind}:{symbol}' {formula}"
    group = f"phase-{name.replace(' ', '-')}"
    tag(cell, "phase", group, prototype=kind, phase=name, fallen_from=phase.name)
    return Candidate(name, cell, measured=False)


def _relaxed(campaign: Campaign, oracle: Oracle, cells: Sequence[Atoms]) -> dict[int, Relaxed]:
    """Relax each cell without imposing its symmetry; what cannot be relaxed is left out."""
    settings = campaign.settings.validation.model_copy(update=_ROUGH)
    folder = campaign.journal.folder(0) / "phases"
    tasks = [Task(atoms, oracle, settings, folder) for atoms in cells]
    found: dict[int, Relaxed] = {}
    for done, outcome in enumerate(campaign.executor.map_unordered(_relax_one, tasks), 1):
        if outcome.value is not None:
            found[outcome.index] = outcome.value
        elif not isinstance(outcome.error, PotentialError):
            raise outcome.error or RuntimeError("a relaxation returned nothing")
        campaign.journal.progress(done, len(tasks))
    return found


def _relax_one(task: Task) -> Relaxed:
    from pyacemaker.oracle.calculator import OracleCalculator
    from pyacemaker.validator.relax import relax

    task.workdir.mkdir(parents=True, exist_ok=True)
    calculator = OracleCalculator(task.oracle, task.workdir)
    # A symmetric cell has symmetric forces: to impose it costs ten times the oracle's own time.
    return relax(task.atoms, calculator, task.settings, symmetric=False)
