"""Every pair repels down to 0.3 angstrom; a hole is found and named."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.morse import MorsePotential

from pyacemaker.short_range import distances_of, hole_in
from pyacemaker.validator.short_range import ShortRangeCheck


def run(calculator, structure):
    return ShortRangeCheck().run(calculator, structure, [])


def pair_term(function):
    """Add function(distance) to the energy of a dimer."""

    def change(results, atoms):
        if len(atoms) == 2:
            results["energy"] = results["energy"] + function(atoms.get_distance(0, 1))

    return change


def test_lennard_jones_passes(argon_potential, argon):
    result = run(argon_potential, argon)
    assert result.passed, result.reason
    assert result.numbers["Ar-Ar_energy_at_closest_eV"] > 1e6
    assert result.series["Ar-Ar"]["distance_A"][0] == pytest.approx(0.3)


def test_a_hole_in_the_wall_is_refused(argon_potential, argon, altered):
    def hole(r):
        return -3e5 * np.exp(-(((r - 1.0) / 0.1) ** 2))

    result = run(altered(argon_potential, pair_term(hole)), argon)
    assert not result.passed
    assert "Ar-Ar falls towards shorter distances inside 1." in result.reason


def test_a_hole_near_the_bond_is_refused():
    morse = MorsePotential(epsilon=1.0, r0=2.4, rho0=4.0, rcut1=5.0, rcut2=6.0)
    assert run(morse, bulk("Cu")).passed
    distances = distances_of("Cu", "Cu")
    energies = 2000.0 * np.exp(-3.0 * distances) - 30 * np.exp(-(((distances - 1.7) / 0.1) ** 2))
    place, words = hole_in(distances, energies, 2.64)
    assert place == pytest.approx(1.7, abs=0.1)
    assert "hole inside a barrier" in words


def test_a_potential_without_repulsion_is_refused(argon_potential, argon, altered):
    change = pair_term(lambda r: 0.0)

    def soft(results, atoms):
        change(results, atoms)
        results["energy"] = 1.0 / (1.0 + atoms.get_distance(0, 1)) if len(atoms) == 2 else 0.0

    result = run(altered(argon_potential, soft), argon)
    assert not result.passed
    assert "only" in result.reason and "0.30 angstrom" in result.reason


def test_what_is_not_finite_is_refused(argon_potential, argon, altered):
    result = run(altered(argon_potential, pair_term(lambda r: np.nan)), argon)
    assert not result.passed
    assert "not finite" in result.reason


def test_all_pairs_are_scanned_and_a_failure_proposes_dimers(altered):
    morse = MorsePotential(epsilon=1.0, r0=2.4, rho0=4.0, rcut1=5.0, rcut2=6.0)

    def alloy_hole(results, atoms):
        if len(atoms) == 2 and len(set(atoms.symbols)) == 2:
            results["energy"] = -results["energy"]

    alloy = bulk("NaCl", "rocksalt", a=5.6)
    result = run(altered(morse, alloy_hole), alloy)
    assert set(result.series) == {"Cl-Cl", "Cl-Na", "Na-Na"}
    assert not result.passed
    assert "Cl-Na" in result.reason and "Cl-Cl" not in result.reason
    assert [len(atoms) for atoms in result.failure_structures] == [2, 2, 2]
    assert all(atoms.info["provenance"]["group"] for atoms in result.failure_structures)


def test_multiple_bonds_are_no_holes():
    """Cr2's bond (1.68 angstrom) is 0.60 of the sum of covalent radii."""
    distances = distances_of("Cr", "Cr")
    x = np.exp(-3.5 * (distances - 1.68))
    assert hole_in(distances, 1.5 * (x**2 - 2 * x), 2.78) is None
