from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.neighborlist import neighbor_list
from ase.units import Bohr, Hartree

from pyacemaker.potential.environment import atomic_environment
from pyacemaker.process import run_program
from pyacemaker.trainer.baseline import ZblBaseline, ZblPair, zbl_pair, zbl_screened


class Alone(Calculator):
    """The baseline by itself, so that ASE can differentiate it."""

    implemented_properties = ("energy", "free_energy")

    def __init__(self, baseline: ZblBaseline) -> None:
        super().__init__()
        self.baseline = baseline

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        energy = self.baseline.compute(atoms).energy
        self.results = {"energy": energy, "free_energy": energy}


def crowded(seed: int = 0) -> Atoms:
    """Cu and Au far too close, in a small skewed cell, so that all three pairs feel it."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=2.5, cubic=True) * (2, 1, 1)
    atoms.symbols[::3] = "Au"
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.03), scale_atoms=True)
    atoms.positions += rng.normal(size=atoms.positions.shape) * 0.1
    return atoms


@pytest.mark.parametrize("charges", [(14, 14), (79, 29), (8, 22)])
@pytest.mark.parametrize("r", [0.3, 0.8, 1.5])
def test_bare_energy_is_the_published_formula(charges, r):
    # Ziegler, Biersack, Littmark (1985) in atomic units: a_u = 0.8854 a_0 / (Z1^0.23 + Z2^0.23).
    z1, z2 = charges
    x = r / (0.8854 * Bohr / (z1**0.23 + z2**0.23))
    phi = (
        0.1818 * np.exp(-3.2 * x)
        + 0.5099 * np.exp(-0.9423 * x)
        + 0.2802 * np.exp(-0.4028 * x)
        + 0.02817 * np.exp(-0.2016 * x)
    )
    published = z1 * z2 * (Hartree * Bohr) / r * phi
    assert zbl_screened(np.array([r]), z1, z2)[0][0] == pytest.approx(published, rel=2e-3)


def test_derivatives_and_the_smooth_end():
    r = np.linspace(0.4, 1.99, 40)
    h = 1e-5
    energy, slope, curvature = zbl_pair(r, 29, 79, 1.2, 2.0)
    up, down = zbl_pair(r + h, 29, 79, 1.2, 2.0), zbl_pair(r - h, 29, 79, 1.2, 2.0)
    np.testing.assert_allclose((up[0] - down[0]) / (2 * h), slope, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), curvature, rtol=1e-6, atol=1e-6)
    for value in zbl_pair(np.array([2.0]), 29, 79, 1.2, 2.0):
        assert abs(value[0]) < 1e-10
    assert (np.diff(energy) < 0).all()


def test_forces_and_stress_are_derivatives_of_the_energy():
    atoms = crowded()
    baseline = ZblBaseline.for_elements(["Cu", "Au"])
    found = baseline.compute(atoms)
    assert found.energy > 10.0
    assert found.energies.sum() == pytest.approx(found.energy, rel=1e-14)
    atoms.calc = Alone(baseline)
    np.testing.assert_allclose(
        found.forces,
        calculate_numerical_forces(atoms, eps=1e-5),
        atol=1e-5 * abs(found.forces).max(),
    )
    numerical = calculate_numerical_stress(atoms, eps=1e-6, voigt=False)
    np.testing.assert_allclose(
        found.virial / atoms.get_volume(), numerical, atol=1e-6 * abs(numerical).max()
    )


@pytest.mark.parametrize("elements", [["Si"], ["Cu", "Au"], ["Ti", "O"], ["C", "H"], ["Mo"]])
def test_bonds_at_equilibrium_feel_nothing(elements):
    # The shortest bonds nature has between these: O2, H2, diamond (angstrom).
    shortest = {
        ("H", "H"): 0.74,
        ("C", "H"): 1.09,
        ("C", "C"): 1.20,
        ("O", "O"): 1.21,
        ("O", "Ti"): 1.62,
        ("Ti", "Ti"): 1.94,
        ("Si", "Si"): 2.15,
        ("Mo", "Mo"): 1.94,
    }
    for pair in ZblBaseline.for_elements(elements).pairs:
        assert 0 < pair.inner_A < pair.outer_A
        assert pair.outer_A < shortest.get(pair.elements, 2.2) * 1.25
    crystal = bulk("Si", cubic=True)
    assert ZblBaseline.for_elements(["Si"]).compute(crystal).energy == 0.0


def test_periodicity_and_size_do_not_matter():
    atoms = crowded()
    baseline = ZblBaseline.for_elements(["Cu", "Au"])
    one, eight = baseline.compute(atoms), baseline.compute(atoms * (2, 2, 2))
    assert eight.energy == pytest.approx(8 * one.energy, rel=1e-12)
    np.testing.assert_allclose(eight.forces[: len(atoms)], one.forces, atol=1e-9)
    assert baseline.compute(Atoms("Cu")).energy == 0.0
    dimer = Atoms("CuAu", [[0, 0, 0], [0, 0, 1.0]])
    expected = zbl_pair(np.array([1.0]), 29, 79, *_radii(baseline, ("Au", "Cu")))
    assert baseline.compute(dimer).energy == pytest.approx(expected[0][0], rel=1e-14)
    assert baseline.compute(dimer).forces[0, 2] == pytest.approx(expected[1][0], rel=1e-14)


def _radii(baseline: ZblBaseline, elements: tuple[str, str]) -> tuple[float, float]:
    (pair,) = [p for p in baseline.pairs if p.elements == elements]
    return pair.inner_A, pair.outer_A


def test_json_round_trip_and_refusals():
    baseline = ZblBaseline.for_elements(["Ti", "O"])
    assert ZblBaseline.from_json(baseline.to_json()) == baseline
    assert ZblBaseline.from_json({"kind": "none"}) == ZblBaseline(())
    with pytest.raises(ValueError, match="unknown baseline kind 'morse'"):
        ZblBaseline.from_json({"kind": "morse"})
    with pytest.raises(ValueError, match="Cu-Cu: need 0 < inner < outer"):
        ZblPair(("Cu", "Cu"), 2.0, 2.0)


@pytest.mark.real
def test_lammps_agrees(tmp_path, lammps_zbl):
    atoms = crowded()
    baseline = ZblBaseline.for_elements(["Cu", "Au"])
    energy, forces, stress = lammps_zbl(tmp_path, atoms, baseline, run_program)
    found = baseline.compute(atoms)
    assert found.energy == pytest.approx(energy, rel=1e-8)
    np.testing.assert_allclose(found.forces, forces, rtol=1e-8, atol=1e-8 * abs(forces).max())
    np.testing.assert_allclose(
        found.virial / atoms.get_volume(), stress, rtol=1e-7, atol=1e-7 * abs(stress).max()
    )


@pytest.mark.parametrize("spread", [0.8, 1.0, 1.3, 1.35, 1.4, 1.6, 3.0])
def test_the_distance_that_pyace_knows_leaves_nothing_out(spread: float) -> None:
    atoms = crowded()
    atoms.set_cell(atoms.cell * spread, scale_atoms=True)
    baseline = ZblBaseline.for_elements(["Cu", "Au"])
    nearest = atomic_environment(atoms, 6.0, {"Au": 0, "Cu": 1}).get_minimal_nn_distance()
    assert nearest == pytest.approx(neighbor_list("d", atoms, 6.0).min(), rel=1e-12)
    whole, quick = baseline.compute(atoms), baseline.compute(atoms, nearest)
    assert quick.energy == whole.energy
    np.testing.assert_array_equal(quick.forces, whole.forces)
    np.testing.assert_array_equal(quick.virial, whole.virial)


def test_an_atom_that_meets_only_itself_and_one_alone() -> None:
    baseline = ZblBaseline.for_elements(["Cu"])
    squeezed = Atoms("Cu", cell=[1.5, 9, 9], pbc=True)
    alone = Atoms("Cu", cell=[9, 9, 9])
    for atoms in (squeezed, alone):
        nearest = atomic_environment(atoms, 6.0, {"Cu": 0}).get_minimal_nn_distance()
        found = baseline.compute(atoms, min(nearest, 6.0))
        assert found.energy == baseline.compute(atoms).energy
    assert baseline.compute(squeezed, 1.5).energy > 0.0
