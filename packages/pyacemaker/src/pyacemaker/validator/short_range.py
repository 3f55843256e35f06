"""Gate: every pair of atoms repels, ever more the closer they come, down to 0.3 angstrom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.provenance import tag
from pyacemaker.short_range import WALL_FRACTION, Array, bond_of, distances_of, hole_in
from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.evaluation import PotentialError, crystal_of, evaluate
from pyacemaker.validator.result import failed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings

_BOX_A = 24.0  # some calculators need a cell; nothing is periodic
_LABELLED_FRACTIONS = (0.75, 0.85, 0.95)  # of the bond: a pseudopotential bears no less


@dataclass(frozen=True)
class ShortRangeCheck:
    """Scans the dimers of all pairs of the material's elements (and the test set's)."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "short_range"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check every pair in vacuum; nothing is relaxed."""
        symbols = set(crystal_of(structure).get_chemical_symbols())
        symbols |= {s for atoms in test for s in atoms.get_chemical_symbols()}
        try:
            return self._judge(calculator, sorted(symbols))
        except PotentialError as error:
            return failed(self.name, str(error))

    def _judge(self, calculator: Calculator, elements: Sequence[str]) -> CheckResult:
        alone = {
            e: evaluate(_boxed([e], [0.0]), calculator, stress=False).energy_eV for e in elements
        }
        complaints, wanted = [], []
        numbers: dict[str, float] = {}
        series: dict[str, dict[str, list[float]]] = {}
        for first, second in combinations_with_replacement(elements, 2):
            pair = f"{first}-{second}"
            distances = distances_of(first, second)
            energies: Array = np.array(
                [
                    evaluate(_boxed([first, second], [0.0, r]), calculator, stress=False).energy_eV
                    for r in distances
                ]
            )
            energies -= alone[first] + alone[second]
            numbers[f"{pair}_energy_at_closest_eV"] = float(energies[0])
            series[pair] = {"distance_A": distances.tolist(), "energy_eV": energies.tolist()}
            hole = hole_in(distances, energies, bond_of(first, second))
            if hole is not None:
                complaints.append(f"the energy of {pair} {hole[1]}")
                wanted += _dimers(first, second)
        if complaints:
            found = worth_labelling(wanted, self.settings)
            return CheckResult(self.name, False, "; ".join(complaints), numbers, series, found)
        return CheckResult(
            self.name,
            True,
            f"{', '.join(series)} repel, ever more the closer, from {WALL_FRACTION:g} of the "
            f"covalent bond down to {distances[0]:.1f} angstrom, with no hole up to the bond",
            numbers,
            series,
        )


def _dimers(first: str, second: str) -> list[Atoms]:
    found = []
    for fraction in _LABELLED_FRACTIONS:
        distance = fraction * bond_of(first, second)
        box = 12.0
        atoms = Atoms([first, second], [[0, 0, 0], [0, 0, distance]], cell=[box] * 3, pbc=True)
        family = f"validator.short_range:{first}-{second}"
        found.append(tag(atoms, "validator.short_range", family, distance_A=distance))
    return found


def _boxed(symbols: Sequence[str], heights: Sequence[float]) -> Atoms:
    middle = _BOX_A / 2
    positions = [[middle, middle, middle + z] for z in heights]
    return Atoms(list(symbols), positions, cell=[_BOX_A] * 3, pbc=False)
