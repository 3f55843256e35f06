"""Forces and stress against the energy's slope: good potentials pass, liars are named."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from pyacemaker.validator.consistency import ConsistencyCheck


def run(calculator, structure):
    return ConsistencyCheck().run(calculator, structure, [])


def test_good_potentials_pass(emt, copper, argon_potential, argon, tersoff_silicon):
    for calculator, structure in (
        (emt, copper),
        (emt, bulk("Al")),
        (argon_potential, argon),
        (tersoff_silicon, bulk("Si")),
    ):
        result = run(calculator, structure)
        assert result.passed, result.reason
        assert result.numbers["force_slope_ratio"] == pytest.approx(1, abs=1e-3)
        assert result.numbers["stress_slope_ratio"] == pytest.approx(1, abs=1e-3)


def test_single_precision_passes(emt, copper, altered):
    def rounded(results, atoms):
        for key in results:
            results[key] = np.asarray(results[key], dtype=np.float32).astype(float)

    assert run(altered(emt, rounded), copper).passed


def test_forces_of_the_wrong_sign(emt, copper, altered):
    result = run(altered(emt, lambda r, a: r.update(forces=-r["forces"])), copper)
    assert not result.passed
    assert "forces are not minus the slope of the energy: the sign is wrong" in result.reason
    assert result.numbers["force_slope_ratio"] == pytest.approx(-1, abs=1e-3)


def test_stress_of_the_wrong_sign(emt, copper, altered):
    result = run(altered(emt, lambda r, a: r.update(stress=-r["stress"])), copper)
    assert not result.passed
    assert "stress is not the slope of the energy under strain: the sign is wrong" in result.reason


def test_energy_of_the_wrong_sign(emt, copper, altered):
    result = run(altered(emt, lambda r, a: r.update(energy=-r["energy"])), copper)
    assert not result.passed
    assert result.reason.count("the sign is wrong") == 2


def test_stress_in_gpa_is_caught(emt, copper, altered):
    """160.2 is the factor between GPa and eV/angstrom^3."""
    result = run(altered(emt, lambda r, a: r.update(stress=r["stress"] * 160.21766)), copper)
    assert not result.passed
    assert result.numbers["stress_slope_ratio"] == pytest.approx(160.2, rel=1e-3)


def test_swapped_shear_components_are_caught(emt, copper, altered):
    order = [0, 1, 2, 5, 4, 3]  # xx, yy, zz, xy, xz, yz: another code's Voigt order
    result = run(altered(emt, lambda r, a: r.update(stress=r["stress"][order])), copper)
    assert not result.passed
    assert "stress" in result.reason


def test_energy_noise(emt, copper, altered):
    rng = np.random.default_rng(0)

    def noisy(results, atoms):
        results["energy"] = results["energy"] + 1e-3 * len(atoms) * rng.normal()

    result = run(altered(emt, noisy), copper)
    assert not result.passed
    assert "(noise)" in result.reason


def test_energy_that_depends_on_the_orientation(emt, copper, altered):
    def leaning(results, atoms):
        results["energy"] = results["energy"] + 0.1 * atoms.cell.array[0, 0]

    result = run(altered(emt, leaning), copper)
    assert not result.passed
    assert "on rotating the crystal" in result.reason


def test_net_force(emt, copper, altered):
    def drifting(results, atoms):
        results["forces"] = results["forces"] + [0.2, 0, 0]

    result = run(altered(emt, drifting), copper)
    assert not result.passed
    assert "do not sum to zero" in result.reason


class Unshifted(LennardJones):
    """Cut off abruptly: ASE's own shifts the energy to zero at the cutoff, this one does not."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        p = self.parameters
        pairs = len(neighbor_list("i", self.atoms, p.rc)) / 2
        x = (p.sigma / p.rc) ** 6
        self.results["energy"] += pairs * 4 * p.epsilon * (x**2 - x)
        self.results["free_energy"] = self.results["energy"]


@pytest.mark.parametrize("cutoff", [8.5, 9.2])
def test_an_abrupt_cutoff_is_cornered(argon, cutoff):
    result = run(Unshifted(sigma=3.405, epsilon=0.0104, rc=cutoff), argon)
    assert not result.passed
    assert "the energy jumps by" in result.reason
    # the jump sits where a neighbour shell of fcc, at a/sqrt(2) sqrt(n), crosses the cutoff
    scale = float(result.reason.split("allowed) at ")[1].split(" of")[0])
    n = (cutoff / (5.3 / 2**0.5 * scale)) ** 2
    assert n == pytest.approx(round(n), abs=0.01)


def test_the_usual_shifted_cutoff_is_tolerated(argon):
    assert run(LennardJones(sigma=3.405, epsilon=0.0104, rc=10.2), argon).passed


def test_nan(emt, copper, altered):
    result = run(altered(emt, lambda r, a: r.update(energy=np.nan)), copper)
    assert not result.passed
    assert "not finite" in result.reason


def test_deterministic(emt, copper):
    assert run(emt, copper).numbers == run(emt, copper).numbers
