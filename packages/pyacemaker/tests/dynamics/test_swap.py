"""Swap Monte Carlo against exact enumeration."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from pyacemaker.dynamics.base import MDRequest
from pyacemaker.dynamics.start import MDRequestError
from pyacemaker.dynamics.swap import SwapMonteCarlo, swap_once

SITES = 6


class _Chain(Calculator):  # type: ignore[misc]
    """A ring of sites; each pair of unlike neighbours costs 0.03 eV, and site 0 likes gold."""

    implemented_properties: ClassVar[list[str]] = ["energy"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        gold = self.atoms.numbers == 79
        self.results["energy"] = 0.03 * float((gold != np.roll(gold, 1)).sum()) - 0.02 * gold[0]


def _ring(gold: tuple[int, ...]) -> Atoms:
    symbols = ["Au" if site in gold else "Cu" for site in range(SITES)]
    atoms = Atoms(symbols, positions=[(3.0 * n, 0, 0) for n in range(SITES)])
    atoms.calc = _Chain()
    return atoms


def test_orders_come_as_often_as_boltzmann_says() -> None:
    temperature = 400.0
    states = list(itertools.combinations(range(SITES), 2))
    energies = np.array([_ring(state).get_potential_energy() for state in states])
    weights = np.exp(-energies / (units.kB * temperature))
    exact = weights / weights.sum()
    atoms, rng = _ring((0, 3)), np.random.default_rng(1)
    seen: Counter[tuple[int, ...]] = Counter()
    energy = None
    steps = 12_000
    for _ in range(steps):
        _, energy = swap_once(atoms, temperature, rng, energy)
        seen[tuple(np.flatnonzero(atoms.numbers == 79).tolist())] += 1
    found = np.array([seen[state] for state in states]) / steps
    assert np.abs(found - exact).max() < 0.02
    assert energy == pytest.approx(atoms.get_potential_energy())


def test_the_composition_and_the_kinetic_energy_stay() -> None:
    atoms, rng = _ring((1, 2)), np.random.default_rng(2)
    atoms.set_momenta(rng.normal(size=(SITES, 3)))
    before = atoms.get_kinetic_energy(), atoms.get_chemical_formula()
    taken = sum(swap_once(atoms, 2000.0, rng)[0] for _ in range(50))
    assert taken > 5
    assert atoms.get_kinetic_energy() == pytest.approx(before[0])
    assert atoms.get_chemical_formula() == before[1]
    assert atoms.get_masses() == pytest.approx(Atoms(atoms.symbols).get_masses())


def test_what_cannot_be_swapped_is_refused(tmp_path: Any) -> None:
    atoms = _ring(())
    with pytest.raises(ValueError, match="nothing to swap"):
        swap_once(atoms, 300.0, np.random.default_rng(0))
    atoms.set_cell([30, 9, 9])
    atoms.pbc = True
    request = MDRequest(atoms, tmp_path / "p", (300.0, 300.0), 10, 1.0, 10.0)
    with pytest.raises(MDRequestError, match="two elements"):
        SwapMonteCarlo().run(request, tmp_path / "w")
