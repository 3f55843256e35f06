"""Vacancies against what is known without them: bonds cut, and a direct calculation."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import FIRE

from pyacemaker.provenance import tag
from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.vacancy import VacancyCheck


def run(calculator, structure, test=(), **settings):
    return VacancyCheck(ValidationSettings(**settings)).run(calculator, structure, list(test))


def test_unrelaxed_a_pair_potential_pays_the_cohesive_energy(argon_potential, argon):
    """Half the bonds of one atom go, and it comes back at a kink: E_f = E_coh exactly."""
    result = run(argon_potential, argon)
    assert result.passed, result.reason
    numbers = result.numbers
    cohesive = numbers["cohesive_energy_eV_per_atom"]
    assert numbers["unrelaxed_formation_energy_eV"] == pytest.approx(cohesive, rel=1e-6)
    assert 0.95 < numbers["vacancy_formation_energy_eV"] / cohesive < 1.0


def test_copper_as_computed_directly(emt, copper):
    """By hand in another cell, with another optimiser (ASE alone)."""
    result = run(emt, copper)
    assert result.passed, result.reason
    atoms = bulk("Cu", a=3.5903, cubic=True) * (3, 3, 3)  # EMT's own lattice constant
    atoms.calc = EMT()
    whole = atoms.get_potential_energy()
    del atoms[0]
    atoms.calc = EMT()
    FIRE(atoms, logfile=None).run(fmax=1e-3)
    direct = atoms.get_potential_energy() - whole * 107 / 108
    assert result.numbers["vacancy_formation_energy_eV"] == pytest.approx(direct, abs=0.05)


def test_a_compound_has_a_schottky_energy(emt):
    """EMT-CuAu3 ... both sublattices emptied, the atoms back in the crystal."""
    alloy = bulk("Cu", a=4.0, cubic=True)
    alloy.symbols[1:] = "Au"
    result = run(emt, alloy)
    assert result.passed, result.reason
    numbers = result.numbers
    assert {"removal_energy_Cu_eV", "removal_energy_Au_eV"} < set(numbers)
    assert 0 < numbers["schottky_energy_eV"] < numbers["cohesive_energy_eV_per_atom"]


def test_a_crystal_that_wants_to_lose_atoms_is_refused(emt, copper, altered):
    def crowded(results, atoms):
        # Quadratic in the density: bulk of 32 sites is left as it is in E an atom and forces.
        missing = 1 - len(atoms) / 32 if len(atoms) in (31,) else 0.0
        results["energy"] = results["energy"] - 100.0 * missing

    result = run(altered(emt, crowded), copper)
    assert not result.passed
    assert "the crystal gains energy by losing atoms" in result.reason
    assert result.failure_structures
    assert all(len(atoms) <= 32 for atoms in result.failure_structures)
    groups = [atoms.info["provenance"]["group"] for atoms in result.failure_structures]
    assert len(set(groups)) == len(groups)


def labelled(factor: float) -> list[Atoms]:
    found = []
    for generator, atoms in (("vacancy", bulk("Cu", a=3.6, cubic=True)), ("eos", bulk("Cu"))):
        if generator == "vacancy":
            del atoms[0]
        atoms.calc = EMT()
        energy = atoms.get_potential_energy()
        if generator == "vacancy":
            energy += factor
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((len(atoms), 3)))
        found.append(tag(atoms, generator, generator))
    return found


def test_labels_are_compared_where_there_are_any(emt, copper):
    good = run(emt, copper, labelled(0.0))
    assert good.passed
    assert good.numbers["labelled_vacancy_structures"] == 1
    assert good.numbers["labelled_vacancy_energy_rmse_eV"] == pytest.approx(0.0, abs=1e-9)
    bad = run(emt, copper, labelled(3.0))
    assert not bad.passed
    assert bad.numbers["labelled_vacancy_energy_rmse_eV"] == pytest.approx(3.0)
    assert "labelled vacancy cells the excess energy is off by 3 eV" in bad.reason


def test_a_reference_value_is_held(emt, copper):
    far = run(emt, copper, reference={"vacancy_formation_energy_eV": 2.5})
    assert not far.passed
    assert "off the reference 2.5" in far.reason
