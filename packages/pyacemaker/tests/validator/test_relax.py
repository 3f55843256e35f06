"""Relaxation: right when it can be, a plain reason when it cannot."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.spacegroup.symmetrize import check_symmetry

from pyacemaker.validator.evaluation import PotentialError
from pyacemaker.validator.relax import relax
from pyacemaker.validator.settings import ValidationSettings


def test_finds_the_lattice_constant_and_leaves_the_input_alone(emt):
    start = bulk("Cu", a=3.7)
    kept = start.copy()
    found = relax(start, emt)
    assert (4 * found.atoms.get_volume()) ** (1 / 3) == pytest.approx(3.590, abs=0.002)
    assert found.atoms.calc is None
    assert not found.atoms.constraints
    assert start == kept
    assert found.volume_change == pytest.approx(found.atoms.get_volume() / start.get_volume() - 1)


def test_keeps_symmetry(argon_potential):
    found = relax(bulk("Ar", "hcp", a=3.9, c=6.1), argon_potential)
    assert check_symmetry(found.atoms, 1e-5).number == 194
    a, _, c = found.atoms.cell.lengths()
    assert c / a == pytest.approx(np.sqrt(8 / 3), rel=0.01)


def test_a_saddle_is_left_only_without_symmetry(argon_potential):
    """Simple cubic argon stays cubic where symmetry is kept, and falls where it is not."""
    start = bulk("Ar", "sc", a=3.7).repeat((2, 2, 2))
    start.rattle(0.15, seed=1)
    settings = ValidationSettings(max_volume_change=2.0, relax_fmax_eV_per_A=1e-3)
    held = relax(bulk("Ar", "sc", a=3.7), argon_potential, settings)
    free = relax(start, argon_potential, settings, symmetric=False)
    assert free.energy_eV / 8 < held.energy_eV - 0.005


def test_shape_keeps_the_volume(argon_potential):
    start = bulk("Ar", "hcp", a=3.6, c=6.6)
    found = relax(start, argon_potential, cell="shape")
    assert found.atoms.get_volume() == pytest.approx(start.get_volume(), rel=1e-6)
    a, _, c = found.atoms.cell.lengths()
    assert c / a == pytest.approx(np.sqrt(8 / 3), rel=0.02)


def test_explosion_is_named(argon):
    repulsive = LennardJones(sigma=6.0, epsilon=0.05, rc=14, smooth=True)
    with pytest.raises(PotentialError, match="explodes on relaxation"):
        relax(argon, repulsive)


def test_collapse_is_named(argon, argon_potential, altered):
    def pulled(results, atoms):
        V = atoms.get_volume()
        results["energy"] = results["energy"] + 0.5 * V
        results["stress"][:3] += 0.5

    with pytest.raises(PotentialError, match="collapses on relaxation"):
        relax(argon, altered(argon_potential, pulled))


def test_not_finite_is_named(copper, emt, altered):
    def broken(results, atoms):
        results["forces"][0, 0] = np.nan

    with pytest.raises(PotentialError, match="forces of Cu is not finite"):
        relax(copper, altered(emt, broken))


def test_not_finite_on_the_way_is_named(emt, altered):
    def broken(results, atoms):
        if atoms.get_volume() / len(atoms) < 12.0:
            results["energy"] = np.nan

    with pytest.raises(PotentialError, match="not finite"):
        relax(bulk("Cu", a=3.75), altered(emt, broken))


def test_steps_are_limited(copper, emt):
    with pytest.raises(PotentialError, match="did not converge"):
        relax(bulk("Cu", a=3.8), emt, ValidationSettings(relax_max_steps=1))


def test_an_element_the_potential_does_not_know():
    from ase.calculators.emt import EMT

    with pytest.raises(PotentialError, match="the potential failed on Si2"):
        relax(bulk("Si"), EMT())


def test_a_molecule_is_refused():
    from ase.build import molecule
    from ase.calculators.emt import EMT

    with pytest.raises(ValueError, match="not periodic in all three directions"):
        relax(molecule("N2"), EMT())


def test_what_is_noise_is_not_descended(emt, altered):
    """A model whose forces are good to 1e-3 eV/angstrom is relaxed to that, and no longer."""
    rng = np.random.default_rng(1)
    calls = []

    def noisy(results, atoms):
        calls.append(1)
        results["forces"] = results["forces"] + rng.normal(0, 1e-3, results["forces"].shape)

    start = bulk("Cu", cubic=True)
    start.rattle(0.05, seed=1)
    found = relax(start, altered(emt, noisy), symmetric=False)
    assert 1e-4 < found.fmax_eV_per_A <= 5e-3
    assert found.steps < 150
    assert (found.atoms.get_volume()) ** (1 / 3) == pytest.approx(3.590, abs=0.003)
