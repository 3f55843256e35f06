"""The equation of state against known numbers, and bad curves refused."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.eos import birchmurnaghan

from pyacemaker.provenance import provenance_of
from pyacemaker.validator.eos import EosCheck, fit_birch_murnaghan
from pyacemaker.validator.settings import ValidationSettings


def run(calculator, structure, **settings):
    return EosCheck(ValidationSettings(**settings)).run(calculator, structure, [])


def test_the_fit_returns_what_made_the_curve():
    V = np.linspace(10, 13, 13)
    fit = fit_birch_murnaghan(V, birchmurnaghan(V, -3.5, 140 * units.GPa, 5.3, 11.6))
    assert fit.E0_eV == pytest.approx(-3.5)
    assert pytest.approx(11.6) == fit.V0_A3
    assert fit.B0_GPa == pytest.approx(140, rel=1e-6)
    assert fit.B0_prime == pytest.approx(5.3, rel=1e-5)
    assert fit.misfit_eV < 1e-9


def test_copper(emt, copper):
    result = run(emt, copper)
    assert result.passed, result.reason
    assert result.numbers["a0_A"] == pytest.approx(3.590, abs=0.003)

    # by a finer, independent path: dP/dV of EMT at its minimum
    def pressure(V):
        atoms = bulk("Cu", a=(4 * V) ** (1 / 3))
        atoms.calc = emt
        return -atoms.get_stress()[:3].mean()

    V0, h = result.numbers["V0_A3_per_atom"], 0.02
    B0 = -V0 * (pressure(V0 + h) - pressure(V0 - h)) / (2 * h) / units.GPa
    assert result.numbers["B0_GPa"] == pytest.approx(B0, rel=0.02)
    assert result.failure_structures == ()
    assert len(result.series["volumes_A3_per_atom"]) == 13


def test_silicon_of_tersoff(tersoff_silicon):
    """T2: B0 = 98 GPa, a = 5.431 A, 4.63 eV/atom (Balamane et al., PRB 46, 2250 (1992))."""
    result = run(tersoff_silicon, bulk("Si"))
    assert result.passed, result.reason
    assert result.numbers["B0_GPa"] == pytest.approx(98, abs=1)
    assert result.numbers["a0_A"] == pytest.approx(5.431, abs=0.003)
    assert result.numbers["E0_eV_per_atom"] == pytest.approx(-4.63, abs=0.01)


def test_a_hexagonal_crystal_relaxes_its_shape(argon_potential):
    """hcp and fcc argon are all but degenerate: so are their bulk moduli."""
    hcp = run(argon_potential, bulk("Ar", "hcp", a=3.75, c=6.2))
    fcc = run(argon_potential, bulk("Ar", "fcc", a=5.3))
    assert hcp.passed, hcp.reason
    assert fcc.passed, fcc.reason
    assert hcp.numbers["B0_GPa"] == pytest.approx(fcc.numbers["B0_GPa"], rel=0.05)
    assert "a0_A" not in hcp.numbers


def test_the_cell_chosen_makes_no_difference(emt):
    primitive, cubic = run(emt, bulk("Cu")), run(emt, bulk("Cu", cubic=True))
    for key in ("V0_A3_per_atom", "B0_GPa", "E0_eV_per_atom", "a0_A"):
        assert primitive.numbers[key] == pytest.approx(cubic.numbers[key], rel=1e-4)


def test_noise_is_refused(emt, copper, altered):
    rng = np.random.default_rng(0)

    def noisy(results, atoms):
        results["energy"] = results["energy"] + 4e-3 * len(atoms) * rng.normal()

    result = run(altered(emt, noisy), copper)
    assert not result.passed
    assert "not smooth" in result.reason


def test_two_minima_are_refused(emt, copper, altered, with_well):
    result = run(altered(emt, with_well(0.06, 12.5, 0.25)), copper)
    assert not result.passed
    assert "E(V) has 2 minima in its range" in result.reason


def test_a_deeper_state_outside_the_range_is_refused(emt, copper, altered, with_well):
    result = run(altered(emt, with_well(0.6, 14.9, 0.35)), copper)
    assert not result.passed
    assert "deeper state at 1" in result.reason
    assert result.numbers["minima_in_range"] == 1


def test_failure_structures_span_the_volumes(emt, copper, altered, with_well):
    result = run(altered(emt, with_well(0.06, 12.5, 0.25)), copper, max_failure_structures=5)
    assert len(result.failure_structures) == 5
    volumes = [atoms.get_volume() for atoms in result.failure_structures]
    assert max(volumes) / min(volumes) == pytest.approx(1.15 / 0.85, rel=1e-6)
    for atoms in result.failure_structures:
        assert provenance_of(atoms)["generator"] == "validator.eos"
        assert atoms.calc is None
    assert len({provenance_of(a)["group"] for a in result.failure_structures}) == 5


def test_too_large_to_label(emt, altered, with_well):
    result = run(altered(emt, with_well(0.06, 12.5, 0.25)), bulk("Cu", cubic=True), max_atoms=3)
    assert not result.passed
    assert result.failure_structures == ()


def test_stress_that_is_not_the_slope(emt, copper, altered):
    def scaled(results, atoms):
        results["stress"] = results["stress"] * 0.6

    result = run(altered(emt, scaled), copper)
    assert not result.passed
    assert "the pressure is not -dE/dV" in result.reason


def test_insane_bulk_modulus(emt, copper):
    result = run(emt, copper, max_bulk_modulus_GPa=100)
    assert not result.passed
    assert "B0 = 133.9 GPa is outside 0.1 to 100 GPa" in result.reason


def test_a_flat_potential_is_refused(emt, copper, altered):
    def nothing(results, atoms):
        for key in results:
            results[key] = np.zeros_like(results[key])

    result = run(altered(emt, nothing), copper)
    assert not result.passed
    assert "minima" in result.reason


def test_nan_at_one_volume(emt, copper, altered):
    def broken(results, atoms):
        if atoms.get_volume() / len(atoms) > 12.5:
            results["energy"] = np.nan

    result = run(altered(emt, broken), copper)
    assert not result.passed
    assert "not finite" in result.reason
    assert "of the volume" in result.reason
    assert result.failure_structures


def test_reference(emt, copper):
    good = run(emt, copper, reference={"B0_GPa": 140.0, "V0_A3_per_atom": 11.6})
    assert good.passed
    assert good.numbers["B0_GPa_deviation_from_reference"] == pytest.approx(-0.043, abs=0.005)
    bad = run(emt, copper, reference={"B0_GPa": 180.0})
    assert not bad.passed
    assert "B0_GPa = 133.9 is -26 % off the reference 180" in bad.reason
