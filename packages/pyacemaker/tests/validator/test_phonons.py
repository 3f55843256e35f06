"""Phonons against dynamical matrices summed by hand, and unstable crystals refused."""

import itertools

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.data import atomic_masses

from pyacemaker.provenance import provenance_of
from pyacemaker.validator.commensurate import commensurate_cell, nearest_fraction
from pyacemaker.validator.lattice_dynamics import (
    band_path,
    exact_phonons,
    force_constants,
    frequencies,
    lengths,
    supercell_repeats,
)
from pyacemaker.validator.phonons import PhononCheck
from pyacemaker.validator.relax import relax
from pyacemaker.validator.settings import ValidationSettings

SIGMA, EPSILON, CUTOFF, ONSET = 3.405, 0.0104, 8.0, 6.0


def pair_energy(r):
    """Lennard-Jones times ASE's smooth cutoff function, written anew."""
    rc2, ro2, r2 = CUTOFF**2, ONSET**2, r**2
    fade = (rc2 - r2) ** 2 * (rc2 + 2 * r2 - 3 * ro2) / (rc2 - ro2) ** 3
    fade = np.where(r < ONSET, 1.0, np.where(r < CUTOFF, fade, 0.0))
    x = (SIGMA / r) ** 6
    return fade * 4 * EPSILON * (x**2 - x)


def pair_phonons(a: float, q_cartesian: np.ndarray, mass: float) -> np.ndarray:
    """THz of an fcc crystal of pairs: D = (1/m) sum_R (1 - cos q.R) phi''(R)."""
    D = np.zeros((3, 3))
    h = 1e-4
    for n in itertools.product(range(-5, 6), repeat=3):
        if sum(n) % 2 or n == (0, 0, 0):
            continue
        R = np.array(n) * a / 2
        r = np.linalg.norm(R)
        if r >= CUTOFF:
            continue
        first = (pair_energy(r + h) - pair_energy(r - h)) / (2 * h)
        second = (pair_energy(r + h) - 2 * pair_energy(r) + pair_energy(r - h)) / h**2
        along = np.outer(R, R) / r**2
        spring = second * along + first / r * (np.eye(3) - along)
        D += (1 - np.cos(q_cartesian @ R)) * spring
    omega = np.sqrt(np.linalg.eigvalsh(D / mass))  # sqrt(eV / (angstrom^2 u))
    per_second = np.sqrt(units._e / units._amu) * 1e10
    return omega * per_second / (2 * np.pi) / 1e12


def test_zone_boundary_of_argon_by_hand(argon_potential, argon):
    settings = ValidationSettings(phonon_min_edge_A=20.0)
    relaxed = relax(argon, argon_potential)
    a = float((4 * relaxed.atoms.get_volume()) ** (1 / 3))
    found = force_constants(relaxed.atoms, argon_potential, settings)
    reciprocal = found.primitive.cell.reciprocal().array
    mass = atomic_masses[18]
    for cubic in ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, 0, 0), (0.5, 0.5, 0)):
        q = np.array(cubic) / a
        mine = frequencies(found.phonopy, (q @ np.linalg.inv(reciprocal))[None])[0]
        assert mine == pytest.approx(pair_phonons(a, 2 * np.pi * q, mass), rel=2e-3)


def test_a_narrow_cell_gives_the_exact_phonons_at_its_wave_vector(argon_potential, argon):
    """By hand again, now at wave vectors no ordinary supercell fits."""
    relaxed = relax(argon, argon_potential).atoms
    a = float((4 * relaxed.get_volume()) ** (1 / 3))
    for q in ((1 / 7, 1 / 7, 0), (1 / 8, 1 / 8, 1 / 8), (0.1, 0.3, 0)):
        cartesian = 2 * np.pi * np.array(q) @ relaxed.cell.reciprocal().array
        exact = exact_phonons(relaxed, np.array(q), argon_potential)
        mine = frequencies(exact, np.array([q]))[0]
        assert mine == pytest.approx(pair_phonons(a, cartesian, atomic_masses[18]), rel=2e-3)


def test_an_imaginary_mode_that_only_interpolation_makes_is_no_instability(
    argon_potential, argon, monkeypatch
):
    """A supercell smaller than the potential's reach fakes one; a cell that fits refutes it."""
    import pyacemaker.validator.phonons as module

    settings = ValidationSettings(phonon_min_edge_A=5.0, phonon_mesh_length_A=30.0)
    mesh_points = module.mesh_points

    def folded(phonopy, length):
        points, found = mesh_points(phonopy, length)
        found = found.copy()
        found[len(found) // 2, 0] = -1.3
        return points, found

    monkeypatch.setattr(module, "mesh_points", folded)
    result = PhononCheck(settings).run(argon_potential, argon, [])
    assert result.passed, result.reason
    assert "the interpolated 1.30i THz is none in cells that fit its wave" in result.reason
    assert result.numbers["lowest_interpolated_frequency_THz"] == pytest.approx(-1.3)
    assert result.numbers["lowest_frequency_THz"] > 0


def test_an_instability_between_the_fitting_wave_vectors_is_proven(argon_potential):
    """With one cubic cell for a supercell, bcc's soft modes lie between: they are not missed."""
    settings = ValidationSettings(phonon_min_edge_A=4.0, phonon_mesh_length_A=30.0)
    result = PhononCheck(settings).run(argon_potential, bulk("Ar", "bcc", a=4.2), [])
    assert not result.passed
    assert result.numbers["lowest_frequency_THz"] < -0.2
    assert result.failure_structures


@pytest.mark.parametrize(
    ("q", "n"), [((0.138, 0, 0.0), 7), ((0.5, 0.26, 0.0), 4), ((0.33, 0.34, 0), 3)]
)
def test_the_nearest_wave_vector_with_a_small_cell(q, n):
    near = nearest_fraction(np.array(q), np.eye(3), 7)
    assert np.allclose(near * n, np.rint(near * n))
    assert np.abs(near - q).max() < 0.02


@pytest.mark.parametrize("element", ["Cu", "Al"])
def test_metals_pass(emt, element, quick):
    result = PhononCheck(quick).run(emt, bulk(element), [])
    assert result.passed, result.reason
    assert result.numbers["lowest_frequency_THz"] > 0
    assert 7 < result.numbers["highest_frequency_THz"] < 10
    assert result.failure_structures == ()
    series = result.series
    assert series["labels"][:2] == ["G", "X"]
    assert len(series["labels"]) == len(series["label_positions_per_A"])
    assert len(series["distances_per_A"]) == len(series["frequencies_THz"])
    assert np.shape(series["frequencies_THz"][0]) == (41, 3)


def test_silicon_has_optical_phonons(tersoff_silicon, quick):
    result = PhononCheck(quick).run(tersoff_silicon, bulk("Si"), [])
    assert result.passed, result.reason
    assert 15 < result.numbers["highest_frequency_THz"] < 18
    assert np.shape(result.series["frequencies_THz"][0]) == (41, 6)


def test_the_cell_chosen_makes_no_difference(emt, quick):
    turned = bulk("Cu", cubic=True)
    turned.rotate(31, (1, 2, 3), rotate_cell=True)
    one, other = (PhononCheck(quick).run(emt, a, []) for a in (bulk("Cu"), turned))
    for key in ("highest_frequency_THz", "supercell_atoms"):
        assert one.numbers[key] == pytest.approx(other.numbers[key], rel=1e-3)


@pytest.mark.parametrize(("structure", "a"), [("sc", 3.7), ("bcc", 4.2)])
def test_unstable_crystals_are_refused(argon_potential, structure, a, quick):
    result = PhononCheck(quick).run(argon_potential, bulk("Ar", structure, a=a), [])
    assert not result.passed
    assert "imaginary phonons: 0." in result.reason
    assert result.numbers["lowest_frequency_THz"] < -0.3


def test_failure_structures_go_downhill(argon_potential, quick):
    """Displaced along a soft mode, the crystal is lower in energy than undisplaced."""
    start = bulk("Ar", "sc", a=3.7)
    result = PhononCheck(quick).run(argon_potential, start, [])
    perfect = relax(start, argon_potential).energy_eV
    assert result.failure_structures
    for atoms in result.failure_structures:
        assert len(atoms) <= quick.max_atoms
        assert provenance_of(atoms)["generator"] == "validator.phonons"
        assert provenance_of(atoms)["frequency_THz"] < 0
        atoms.calc = argon_potential
        assert atoms.get_potential_energy() / len(atoms) < perfect - 1e-5


def test_failure_structures_keep_to_the_size_allowed(argon_potential):
    settings = ValidationSettings(
        phonon_min_edge_A=8.0, phonon_mesh_length_A=30.0, max_atoms=2, max_failure_structures=3
    )
    result = PhononCheck(settings).run(argon_potential, bulk("Ar", "sc", a=3.7), [])
    assert 0 < len(result.failure_structures) <= 3
    assert all(len(atoms) == 2 for atoms in result.failure_structures)


def cuau() -> Atoms:
    sites = [(0, 0, 0), (0.5, 0.5, 0.5)]
    return Atoms("CuAu", scaled_positions=sites, cell=[2.8, 2.8, 3.7], pbc=True)


def test_an_optical_soft_mode_at_gamma_is_not_excused_as_acoustic(emt, altered, quick):
    """The two sublattices repel each other's centring as a whole: imaginary at q = 0 only."""
    k = 12.0  # eV/angstrom^2 and pair

    def unseated(results, atoms):
        # E = -k/2 n u^2 with u the mean shift of the n Au against the n Cu
        cu, au = atoms.numbers == 29, atoms.numbers == 79
        repeats = np.rint(atoms.cell.lengths() / [2.8, 2.8, 3.6])
        scaled = atoms.get_scaled_positions(wrap=False)
        each = (scaled[au].mean(axis=0) - scaled[cu].mean(axis=0)) * repeats
        u = ((each % 1) - 0.5) / repeats @ atoms.cell.array
        results["energy"] = results["energy"] - 0.5 * k * cu.sum() * u @ u
        results["forces"][au] += k * u
        results["forces"][cu] -= k * u

    # EMT's own CuAu is slightly soft at the zone boundary
    check = PhononCheck(quick.model_copy(update={"phonon_tolerance_THz": 0.3}))
    plain = check.run(emt, cuau(), [])
    result = check.run(altered(emt, unseated), cuau(), [])
    assert plain.passed, plain.reason
    assert not result.passed
    assert "imaginary phonons: " in result.reason
    assert "Gamma" in result.reason
    assert any(len(atoms) == 2 for atoms in result.failure_structures)


def test_no_forces_at_all(emt, copper, altered, quick):
    def nothing(results, atoms):
        for key in results:
            results[key] = np.zeros_like(results[key])

    result = PhononCheck(quick).run(altered(emt, nothing), copper, [])
    assert not result.passed
    assert "no restoring forces" in result.reason


def test_forces_of_the_wrong_sign_are_all_imaginary(emt, altered, quick):
    result = PhononCheck(quick).run(
        altered(emt, lambda r, a: r.update(forces=-r["forces"])), bulk("Cu", a=3.59), []
    )
    assert not result.passed
    assert result.numbers["lowest_frequency_THz"] < -5


def test_nan_in_the_supercell(emt, copper, altered, quick):
    def broken(results, atoms):
        if len(atoms) > 8:
            results["forces"][:] = np.nan

    result = PhononCheck(quick).run(altered(emt, broken), copper, [])
    assert not result.passed
    assert "not finite" in result.reason


def test_an_energy_that_is_not_extensive(emt, copper, altered, quick):
    def lumpy(results, atoms):
        results["energy"] = results["energy"] + 0.01 * len(atoms) ** 1.5

    result = PhononCheck(quick).run(altered(emt, lumpy), copper, [])
    assert not result.passed
    assert "not size-extensive" in result.reason


def test_too_many_displacements(emt):
    result = PhononCheck(ValidationSettings(phonon_max_displacements=1)).run(emt, cuau(), [])
    assert not result.passed
    assert "displaced supercells are needed, 1 allowed" in result.reason


def test_the_supercell_is_bounded():
    settings = ValidationSettings(phonon_min_edge_A=12, phonon_max_atoms=100)
    repeats, height = supercell_repeats(bulk("Cu", cubic=True), settings)
    assert np.prod(repeats) * 4 <= 100
    assert height < 12
    assert supercell_repeats(bulk("Cu", cubic=True), ValidationSettings())[0] == [4, 4, 4]


def test_wave_vectors_are_measured_from_the_nearest_gamma():
    cell = bulk("Cu", a=3.6)
    points = np.array([[1.0, 0, 0], [0.5, 0.5, 0.0], [0.97, 0, 0]])
    found = lengths(points, cell)
    assert found[0] == pytest.approx(0)
    assert found[1] == pytest.approx(1 / 3.6)  # X
    assert found[2] == pytest.approx(0.03 * 3**0.5 / 3.6)


@pytest.mark.parametrize(
    ("q", "cells"),
    [((0, 0, 0), 1), ((0.5, 0.5, 0), 2), ((0.5, 0.25, 0.75), 4), ((1 / 3, 1 / 3, 0), 3)],
)
def test_commensurate_cells_are_as_small_as_can_be(q, cells):
    H = commensurate_cell(np.array(q), 6)
    assert round(abs(np.linalg.det(H))) == cells
    assert np.allclose(H @ q, np.rint(H @ q))


def test_an_irrational_wave_vector_has_no_cell():
    assert commensurate_cell(np.array([0.123456, 0, 0]), 6) is None


def test_band_path_of_hexagonal_starts_and_breaks_where_it_should():
    path = band_path(bulk("Mg"))
    assert path.labels[:4] == ("G", "M", "K", "G")
    assert len(path.labels) == len(path.positions)
    assert any("|" in label for label in path.labels)
    assert all(np.diff(d).min() >= 0 for d in path.distances)
