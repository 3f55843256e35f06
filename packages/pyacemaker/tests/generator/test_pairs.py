"""Dimers, isolated atoms and pairs pushed together inside the bulk."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import (
    HARD_FLOOR_A,
    SHORT_CONTACT,
    closest_contact,
    shortest_distance,
)
from pyacemaker.generator.pairs import dimer_distances, dimers, isolated_atoms, pressed_pairs
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import group_of, provenance_of

SYMBOLS = ["H", "He", "O", "Ne", "Na", "Si", "Cl", "Ar", "Ti", "Fe", "Cs", "U", "At"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=3, unique=True))
def test_dimers_of_every_pair_with_vacuum_all_round(elements):
    families = dimers(elements, 6)
    assert len(families) == len(elements) * (len(elements) + 1) // 2
    for family in families:
        assert len({group_of(a) for a in family}) == 1
        stored = [provenance_of(a)["distance_A"] for a in family]
        assert stored == sorted(stored)
        for atoms in family:
            assert atoms.pbc.all()
            assert atoms.get_distance(0, 1) == pytest.approx(provenance_of(atoms)["distance_A"])
            gaps = atoms.cell.lengths() - np.ptp(atoms.positions, axis=0)
            assert gaps.min() >= 8.0 - 1e-9
            shortest = shortest_distance(*atoms.get_chemical_symbols())
            assert atoms.get_distance(0, 1) >= shortest * (1 - 1e-12)
            assert atoms.get_distance(0, 1) >= HARD_FLOOR_A


@pytest.mark.parametrize(
    ("pair", "bond_A"),
    [("HH", 0.74), ("OO", 1.21), (("Si", "Si"), 2.25), (("Na", "Cl"), 2.36), (("Ar", "Ar"), 3.76),
     (("He", "He"), 2.97), (("Cu", "Cu"), 2.22), (("Ti", "O"), 1.62)],
)  # fmt: skip
def test_distances_bracket_the_measured_bond(pair, bond_A):
    distances = dimer_distances(pair[0], pair[1], 10)
    assert distances[0] < 0.87 * bond_A
    assert distances[-1] > 1.15 * bond_A
    assert np.diff(distances).max() < 0.4 * bond_A


def test_the_box_limit_shrinks_the_vacuum_and_then_leaves_dimers_out():
    (full,) = dimers(["Si"], 8)
    (small,) = dimers(["Si"], 8, box_cost_limit_A3=400.0)
    (none,) = dimers(["Si"], 8, box_cost_limit_A3=100.0)
    assert len(full) == 8
    assert 0 < len(small) <= 8
    assert max(a.get_volume() for a in small) <= 400.0
    assert min(provenance_of(a)["vacuum_A"] for a in small) >= 6.0
    assert none == []


def test_isolated_atoms():
    atoms = isolated_atoms(["Ti", "O"], 11.0)
    assert [a.get_chemical_formula() for a in atoms] == ["Ti", "O"]
    assert all(a.pbc.all() and a.get_volume() == pytest.approx(1331) for a in atoms)
    with pytest.raises(GeneratorError, match="isolate"):
        isolated_atoms(["Ti"], 2.0)


def test_pressed_pairs_move_two_atoms_along_their_line_and_nothing_else():
    parent = supercell(bulk("NaCl", "rocksalt", a=5.64), 8)
    made = pressed_pairs(parent, (0.9, 0.7), np.random.default_rng(0))
    pairs = {tuple(provenance_of(a)["pair"]) for a in made}
    assert ("Cl", "Na") in pairs
    for atoms in made:
        moved = np.flatnonzero(np.linalg.norm(atoms.positions - parent.positions, axis=1) > 1e-9)
        assert len(moved) == 2
        assert sorted(atoms.symbols[moved]) == provenance_of(atoms)["pair"]
        assert atoms.get_distance(*moved, mic=True) == pytest.approx(
            provenance_of(atoms)["distance_A"]
        )
        shift = atoms.positions[moved] - parent.positions[moved]
        assert shift.sum(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
        assert closest_contact(atoms) >= SHORT_CONTACT * 0.999
    short = [
        provenance_of(a)["distance_A"] for a in made if provenance_of(a)["pair"] == ["Cl", "Na"]
    ]
    assert short == pytest.approx([0.9 * 2.82, 0.7 * 2.82])


def test_one_atom_has_no_pair_to_press():
    assert pressed_pairs(bulk("Cu"), (0.8,), np.random.default_rng(0)) == []
