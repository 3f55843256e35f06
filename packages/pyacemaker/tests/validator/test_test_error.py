"""Errors on held-out labels."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.test_error import TestErrorCheck, energies_above_hull


def labelled(atoms: Atoms, energy=0.0, force=0.0, stress=0.0) -> Atoms:
    """Label by EMT, off by the given amounts (eV/atom, eV/angstrom, eV/angstrom^3)."""
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy() + energy * len(atoms),
        "forces": atoms.get_forces() + force,
    }
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress() + stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def rattled(n: int, **off) -> list[Atoms]:
    made = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        made.append(labelled(atoms, **off))
    return made


def run(test, **settings):
    return TestErrorCheck(ValidationSettings(**settings)).run(EMT(), bulk("Cu"), test)


def test_errors_are_those_put_in():
    result = run(rattled(3, energy=0.004, force=-0.03, stress=0.002))
    assert result.passed, result.reason
    numbers = result.numbers
    assert numbers["energy_rmse_eV_per_atom"] == pytest.approx(0.004)
    assert numbers["energy_mae_eV_per_atom"] == pytest.approx(0.004)
    assert numbers["force_rmse_eV_per_A"] == pytest.approx(0.03)
    assert numbers["force_mae_eV_per_A"] == pytest.approx(0.03)
    assert numbers["stress_rmse_GPa"] == pytest.approx(0.002 / units.GPa)
    assert len(result.series["force_reference_eV_per_A"]) == 3 * 4 * 3
    assert len(result.series["stress_predicted_GPa"]) == 3 * 6


def test_rmse_weighs_each_structure_and_each_component():
    test = [*rattled(1, energy=0.003), *rattled(1, energy=-0.005)]
    numbers = run(test).numbers
    assert numbers["energy_rmse_eV_per_atom"] == pytest.approx(np.sqrt((9 + 25) / 2) * 1e-3)
    assert numbers["energy_mae_eV_per_atom"] == pytest.approx(0.004)
    assert numbers["energy_max_eV_per_atom"] == pytest.approx(0.005)


def test_energy_threshold():
    result = run(rattled(2, energy=0.02))
    assert not result.passed
    assert "energy RMSE 20 meV/atom is above 10 meV/atom" in result.reason


def test_force_threshold():
    result = run(rattled(2, force=0.2))
    assert not result.passed
    assert "force RMSE 0.2 eV/angstrom is above 0.15 eV/angstrom" in result.reason


def test_stress_threshold_is_optional():
    test = rattled(2, stress=0.05)
    assert run(test).passed
    result = run(test, test_stress_rmse_GPa=1.0)
    assert not result.passed
    assert "stress RMSE 8.01 GPa" in result.reason


def test_a_stress_threshold_needs_stresses():
    atoms = rattled(1)[0]
    atoms.calc = SinglePointCalculator(
        atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
    )
    assert run([atoms]).passed
    result = run([atoms], test_stress_rmse_GPa=1.0)
    assert not result.passed
    assert "no test structure has a stress" in result.reason


def test_an_empty_test_set_is_no_pass():
    result = run([])
    assert not result.passed
    assert "the test set is empty" in result.reason


def test_too_few():
    result = run(rattled(2), test_min_structures=3)
    assert not result.passed
    assert "2 test structures, at least 3 wanted" in result.reason


def test_high_energies_are_reported_but_not_held_against_it():
    squeezed = labelled(bulk("Cu", a=2.7), energy=0.5, force=0.0)
    result = run([*rattled(3, energy=0.001), squeezed])
    assert result.passed, result.reason
    assert "3 of 4 test structures" in result.reason
    assert result.numbers["energy_rmse_eV_per_atom"] == pytest.approx(0.001)
    assert result.numbers["all_energy_rmse_eV_per_atom"] == pytest.approx(0.25, rel=0.01)
    assert result.series["in_window"] == [True, True, True, False]
    wide = run([*rattled(3, energy=0.001), squeezed], test_energy_window_eV_per_atom=50)
    assert not wide.passed


def test_molecules_need_no_stress():
    dimer = Atoms("Cu2", positions=[(0, 0, 0), (2.3, 0, 0)])
    assert run([*rattled(1), labelled(dimer)]).passed


def test_no_label_is_named():
    result = run([*rattled(1), bulk("Cu")])
    assert not result.passed
    assert "test structure 1 has no usable label" in result.reason


def test_a_nan_label_is_named():
    atoms = bulk("Cu")
    atoms.calc = SinglePointCalculator(atoms, energy=np.nan, forces=np.zeros((1, 3)))
    result = run([atoms])
    assert not result.passed
    assert "not finite" in result.reason


def test_a_potential_that_does_not_know_the_element():
    atoms = bulk("Si")
    atoms.calc = SinglePointCalculator(atoms, energy=-10.0, forces=np.zeros((2, 3)))
    result = run([atoms])
    assert not result.passed
    assert "test structure 0: the potential failed on Si2" in result.reason


def test_never_proposes_its_own_structures():
    assert run(rattled(2, energy=1.0)).failure_structures == ()


def test_the_test_set_is_left_as_it_was():
    test = rattled(2)
    before = [atoms.get_potential_energy() for atoms in test]
    run(test)
    assert [atoms.get_potential_energy() for atoms in test] == before
    assert all(isinstance(atoms.calc, SinglePointCalculator) for atoms in test)


def test_hull_of_two_elements():
    energies = np.array([-3.0, -2.0, -3.0, -2.4, -2.9, -4.0])
    symbols = [["A"], ["B"], ["A", "B"], ["A", "B"], ["A", "A", "A", "B"], ["A", "B"] * 2]
    above = energies_above_hull(energies, symbols)
    # A3B: half A (-3), half AB (-4) is -3.5
    assert above == pytest.approx([0, 0, 1.0, 1.6, 0.6, 0])


def test_hull_without_end_members():
    above = energies_above_hull(np.array([-5.0, -4.0]), [["Ti", "O", "O"], ["Ti", "O", "O"]])
    assert above == pytest.approx([0, 1.0])


def test_molecule_of_other_composition_stands_alone():
    water = molecule("H2O")
    above = energies_above_hull(
        np.array([-5.0, -1.0]), [water.get_chemical_symbols(), ["Ti", "O", "O"]]
    )
    assert above == pytest.approx([0, 0])
