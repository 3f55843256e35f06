"""Strains are recovered from the cell; rattles have their sigma and keep atoms apart."""

import json

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import ORDINARY_CONTACT, closest_contact
from pyacemaker.generator.distort import (
    STRAIN_KINDS,
    distorted,
    random_strain,
    rattled,
    strained,
)
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import group_of, provenance_of


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(STRAIN_KINDS), st.floats(0, 0.15), st.integers(0, 2**32))
def test_the_strain_in_the_provenance_is_that_of_the_cell(kind, amplitude, seed):
    atoms = bulk("Ti")
    strain = random_strain(kind, amplitude, np.random.default_rng(seed))
    made = strained(atoms, strain, "g")
    from_cell = np.linalg.solve(atoms.cell.array, made.cell.array) - np.eye(3)
    stored = np.array(json.loads(json.dumps(provenance_of(made)))["strain"])
    assert from_cell == pytest.approx(stored, abs=1e-12)
    assert stored == pytest.approx(stored.T, abs=0)
    assert np.abs(stored).max() <= amplitude
    assert made.get_scaled_positions() == pytest.approx(atoms.get_scaled_positions(), abs=1e-9)
    if kind == "shear":
        assert np.trace(stored) == 0
    if kind == "volumetric":
        assert made.get_volume() / atoms.get_volume() == pytest.approx((1 + stored[0, 0]) ** 3)


@pytest.mark.parametrize("bad", [np.ones((2, 2)), [[0, 0.1, 0], [0, 0, 0], [0, 0, 0]]])
def test_strains_that_are_no_symmetric_tensors_are_refused(bad):
    with pytest.raises(GeneratorError, match="symmetric"):
        strained(bulk("Si"), bad, "g")


def test_displacements_have_the_sigma_asked_for_and_no_drift():
    parent = supercell(bulk("Si"), 216)
    made = rattled(parent, 0.1, np.random.default_rng(1), "g")
    shift = made.positions - parent.positions
    assert provenance_of(made)["sigma_A"] == 0.1
    assert np.std(shift) == pytest.approx(0.1, rel=0.1)
    assert shift.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_rattle_that_would_overlap_atoms_is_backed_off_and_says_so():
    parent = supercell(bulk("Si"), 64)
    made = rattled(parent, 0.6, np.random.default_rng(1), "g")
    assert closest_contact(made) >= ORDINARY_CONTACT
    assert provenance_of(made)["sigma_A"] < 0.6
    shift = made.positions - parent.positions
    assert np.std(shift) == pytest.approx(provenance_of(made)["sigma_A"], rel=0.2)


def test_groups_divide_independent_draws_but_not_small_ones():
    parent = supercell(bulk("Si"), 8)
    rng = np.random.default_rng(2)
    wide = distorted(parent, rng, count=6, sigmas_A=(0.1,), strain_amplitudes=(0.02,), prefix="p")
    small = distorted(parent, rng, count=6, sigmas_A=(0.01,), strain_amplitudes=(0.02,), prefix="p")
    assert len({group_of(a) for a in wide}) == 6
    assert {group_of(a) for a in small} == {"p-small"}
    # what the module says of two draws: corresponding atoms differ by sigma * 6^(1/2)
    same_cell = [rattled(supercell(bulk("Si"), 216), 0.05, rng, "g") for _ in range(2)]
    apart = np.linalg.norm(same_cell[0].positions - same_cell[1].positions, axis=1)
    assert np.sqrt(np.mean(apart**2)) == pytest.approx(0.05 * 6**0.5, rel=0.1)


def test_one_atom_can_only_be_strained():
    made = distorted(
        bulk("Cu"), np.random.default_rng(0), count=4, sigmas_A=(0.1,),
        strain_amplitudes=(0.05,), prefix="p",
    )  # fmt: skip
    assert {group_of(a) for a in made} == {"p-small"}
    assert all(provenance_of(a)["sigma_A"] == 0 for a in made)
    assert len({round(a.get_volume(), 6) for a in made}) > 1


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_bad_sigmas_are_refused(sigma):
    with pytest.raises(GeneratorError, match="sigma"):
        rattled(bulk("Si"), sigma, np.random.default_rng(0), "g")
