from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.io import write
from ase.optimize import BFGS

from pyacemaker.potential import Potential, PotentialError


@pytest.fixture
def calculator(alloy):
    return Potential.load(alloy.potential).calculator()


def squeezed() -> Atoms:
    """An alloy cell in which the baseline pushes: pairs inside its outer radius."""
    rng = np.random.default_rng(4)
    atoms = bulk("Cu", "fcc", a=3.0, cubic=True)
    atoms.symbols[1] = "Au"
    atoms.positions += rng.normal(size=(4, 3)) * 0.12
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.03), scale_atoms=True)
    return atoms


def test_forces_and_stress_are_derivatives_of_the_energy(calculator, alloy):
    atoms = squeezed()
    assert Potential.load(alloy.potential).manifest.zbl().compute(atoms).energy > 0.1
    atoms.calc = calculator
    forces, stress = atoms.get_forces(), atoms.get_stress()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(forces, numerical, atol=2e-5 * abs(forces).max())
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(stress, numerical, atol=2e-5 * abs(stress).max())
    results = calculator.results
    assert results["energy"] == results["free_energy"]
    assert results["energies"].sum() == pytest.approx(results["energy"], rel=1e-12)
    assert results["gamma"].shape == (4,)


def test_it_is_on_the_labels_scale(calculator, alloy, alloy_sets):
    labelled = alloy_sets[0][0]
    atoms = labelled.copy()
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(labelled.get_potential_energy(), abs=0.1)
    np.testing.assert_allclose(atoms.get_stress(), labelled.get_stress(), atol=0.02)


def test_cell_smaller_than_the_cutoff_equals_its_supercell(calculator):
    small = bulk("Cu", a=3.5)
    large = small * (4, 4, 4)
    for atoms in (small, large):
        atoms.calc = calculator
    one = small.get_potential_energy(), small.get_stress(), calculator.results["gamma"]
    many = large.get_potential_energy() / 64, large.get_stress(), calculator.results["gamma"]
    assert one[0] == pytest.approx(many[0], rel=1e-10)
    np.testing.assert_allclose(one[1], many[1], atol=1e-10)
    np.testing.assert_allclose(many[2], one[2][0], rtol=1e-6)


def test_left_handed_and_oblique_cells_are_the_same_crystal(calculator):
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.05, seed=3)
    atoms.calc = calculator
    energy, stress, forces = atoms.get_potential_energy(), atoms.get_stress(), atoms.get_forces()
    for transform in ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], [[1, 0, 0], [9, 1, 0], [-7, 5, 1]]):
        other = atoms.copy()
        other.set_cell(np.array(transform) @ atoms.cell[:], scale_atoms=False)
        other.calc = calculator
        assert other.get_potential_energy() == pytest.approx(energy, rel=1e-10)
        np.testing.assert_allclose(other.get_stress(), stress, atol=1e-9)
        np.testing.assert_allclose(other.get_forces(), forces, atol=1e-8)


def test_periodic_in_some_directions_only(calculator):
    slab = fcc111("Cu", (2, 2, 3), a=3.6)
    slab.rattle(0.05, seed=1)
    slab.pbc = (True, True, False)
    slab.cell[2] = [0, 0, 6.0]  # less than the slab and the cutoff need
    boxed = slab.copy()
    boxed.cell[2] = [0, 0, 40.0]
    boxed.pbc = True
    cluster = slab.copy()
    cluster.pbc = False
    for atoms in (slab, boxed, cluster):
        atoms.calc = calculator
    assert slab.get_potential_energy() == pytest.approx(boxed.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(slab.get_forces(), boxed.get_forces(), atol=1e-10)
    np.testing.assert_allclose(
        slab.get_stress() * slab.get_volume(), boxed.get_stress() * boxed.get_volume(), atol=1e-9
    )
    assert cluster.get_potential_energy() > slab.get_potential_energy()


def test_without_a_cell_there_is_no_stress(calculator):
    dimer = Atoms("CuAu", [[0, 0, 0], [0, 0, 1.6]])
    dimer.calc = calculator
    force = dimer.get_forces()[1, 2]
    assert force > 1.0, "nuclei must repel"
    with pytest.raises(Exception, match="stress"):
        dimer.get_stress()


def test_nuclei_repel_down_to_short_distances(calculator):
    energies = []
    for r in (0.2, 0.4, 0.6, 0.8):
        dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, r]])
        dimer.calc = calculator
        energies.append(dimer.get_potential_energy())
    assert (np.diff(energies) < 0).all()
    assert energies[0] > 1000.0


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (
            Atoms("CuFeZr", [[0, 0, 0], [0, 0, 2.5], [0, 0, 5]]),
            "does not know Fe, Zr: it is for Au",
        ),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, np.nan]]), "not finite"),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, 0]]), "lie on each other"),
        (Atoms("Cu", cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=True), "without volume"),
    ],
)
def test_refusals(calculator, atoms, said):
    atoms.calc = calculator
    with pytest.raises(PotentialError, match=said):
        atoms.get_potential_energy()


def test_results_do_not_go_stale(calculator):
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.calc = calculator
    first = atoms.get_potential_energy()
    atoms.positions[0, 0] += 0.1
    assert atoms.get_potential_energy() > first


def test_ase_tools_take_it(calculator, tmp_path):
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.symbols[0] = "Au"
    atoms.rattle(0.05, seed=2)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=50)
    assert abs(atoms.get_forces()).max() < 0.02
    write(tmp_path / "relaxed.extxyz", atoms)
    assert calculator.export_properties()["energy"] == atoms.get_potential_energy()
