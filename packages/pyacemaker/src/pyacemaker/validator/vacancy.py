"""Gate: taking an atom out of the crystal costs energy, and a sane amount of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import spglib
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.formula import Formula

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.defect_cells import cohesive_energy, relax_defect, supercell_of
from pyacemaker.validator.evaluation import PotentialError, crystal_of, evaluate
from pyacemaker.validator.labelled import compared
from pyacemaker.validator.relax import relax
from pyacemaker.validator.result import against_reference, proposed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings

_MOST_SITES = 6
_LABELLED_ATOMS = 32  # of a host that is labelled: a calculation by DFT bears no more


@dataclass(frozen=True)
class Vacancies:
    """What the vacancies of a crystal cost.

    `formation_eV` is an element's formation energy E(N-1) - (N-1)/N E(N). A compound has no
    such number without chemical potentials; there it is that of a Schottky defect, one
    vacancy for each atom of the formula, far from each other, the atoms back in the crystal:
    the sum of [E(without one atom of the species) - E(perfect)], plus the energy of a
    formula unit; divided by the atoms of the formula. Both in eV a vacancy, at constant
    volume. `by_element` holds E(without) - E(perfect) of the best site of each element.
    """

    formation_eV: float
    unrelaxed_eV: float
    by_element: Mapping[str, float]
    host_atoms: int


def vacancies(crystal: Atoms, calculator: Calculator, settings: ValidationSettings) -> Vacancies:
    """Empty every inequivalent site of the relaxed `crystal` in turn. Raises PotentialError."""
    effort = settings.effort
    host = supercell_of(crystal, effort.defect_edge_A, effort.defect_atoms, settings)
    perfect = evaluate(host, calculator, stress=False).energy_eV
    relaxed: dict[str, float] = {}
    unrelaxed: dict[str, float] = {}
    for site in _sites(crystal, host, settings.symprec_A):
        symbol = str(host.symbols[site])
        emptied = host.copy()
        del emptied[site]
        before = evaluate(emptied, calculator, stress=False).energy_eV - perfect
        try:
            found = relax_defect(emptied, calculator, settings)
        except PotentialError as error:
            raise PotentialError(f"round a vacancy of {symbol}, {error}") from error
        after = found.energy_eV - perfect
        unrelaxed[symbol] = min(unrelaxed.get(symbol, before), before)
        relaxed[symbol] = min(relaxed.get(symbol, after), after)
    formula = Formula(host.get_chemical_formula()).reduce()[0].count()
    units = sum(formula.values())
    each = perfect / len(host)

    def schottky(energies: Mapping[str, float]) -> float:
        return float(sum(n * energies[s] for s, n in formula.items()) / units + each)

    return Vacancies(schottky(relaxed), schottky(unrelaxed), relaxed, len(host))


@dataclass(frozen=True)
class VacancyCheck:
    """Judges the formation energy of vacancies."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "vacancy"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check vacancies of `structure`, and those among the labelled `test`."""
        crystal = crystal_of(structure)
        try:
            relaxed = relax(crystal, calculator, self.settings)
            crystal = relaxed.atoms
            found = vacancies(crystal, calculator, self.settings)
        except PotentialError as error:
            return CheckResult(
                self.name, False, str(error), failure_structures=self._wanted(crystal)
            )
        cohesive, known = cohesive_energy(crystal, relaxed.energy_eV, calculator)
        elemental = len(found.by_element) == 1
        key = "vacancy_formation_energy_eV" if elemental else "schottky_energy_eV"
        what = "a vacancy" if elemental else "a Schottky defect, for each vacancy,"
        numbers = {
            key: found.formation_eV,
            "unrelaxed_formation_energy_eV": found.unrelaxed_eV,
            "vacancy_host_atoms": float(found.host_atoms),
        }
        if not elemental:
            numbers |= {f"removal_energy_{s}_eV": e for s, e in found.by_element.items()}
        if known:
            numbers["cohesive_energy_eV_per_atom"] = cohesive
        complaints = []
        if not found.formation_eV > 0:
            complaints.append(
                f"{what} costs {found.formation_eV:.3g} eV: the crystal gains energy by losing "
                "atoms"
            )
        limit = self.settings.vacancy_max_to_cohesive
        if known and cohesive > 0 and found.formation_eV > limit * cohesive:
            complaints.append(
                f"{what} costs {found.formation_eV:.3g} eV, {found.formation_eV / cohesive:.2g} "
                f"times the cohesive energy of {cohesive:.3g} eV/atom ({limit:g} allowed)"
            )
        series: dict[str, Any] = {}
        wrong, words = compared(
            test, "vacancy", calculator, self.settings.defect_tolerance, numbers, series
        )
        off, deviations = against_reference(numbers, self.settings)
        complaints += wrong + off
        reason = "; ".join(complaints) or (
            f"{what} costs {found.formation_eV:.3g} eV ({found.unrelaxed_eV:.3g} eV unrelaxed) in "
            f"a cell of {found.host_atoms} sites{words}"
        )
        return CheckResult(
            self.name,
            not complaints,
            reason,
            {**numbers, **deviations},
            series,
            self._wanted(crystal) if complaints else (),
        )

    def _wanted(self, crystal: Atoms) -> tuple[Atoms, ...]:
        """Return small cells with a vacancy, for labels."""
        most = min(_LABELLED_ATOMS, self.settings.max_atoms)
        found: list[Atoms] = []
        for edge in (1.0, 5.0, 7.0):
            host = supercell_of(crystal, edge, most, self.settings)
            if len(host) < 4 or len(host) > most + 1 or any(len(host) == len(a) + 1 for a in found):
                continue
            for site in _sites(crystal, host, self.settings.symprec_A):
                emptied = host.copy()
                del emptied[site]
                family = f"{host.symbols[site]}{site}in{len(host)}"
                found.append(proposed(emptied, self.name, family, host_atoms=len(host)))
        return worth_labelling(found, self.settings)


def _sites(crystal: Atoms, host: Atoms, symprec: float) -> list[int]:
    """Return one site of each inequivalent set, ascending; at least one of every element."""
    data = spglib.get_symmetry_dataset(
        (host.cell.array, host.get_scaled_positions(), host.numbers), symprec=symprec
    )
    sites = range(len(crystal)) if data is None else {int(i) for i in data.equivalent_atoms}
    chosen = sorted(sites)[:_MOST_SITES]
    for symbol in dict.fromkeys(host.get_chemical_symbols()):
        if symbol not in {str(host.symbols[i]) for i in chosen}:
            chosen.append(host.get_chemical_symbols().index(symbol))
    return chosen
