"""Structures that are one up to symmetry, lattice vectors and the names of atoms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pyacemaker.dynamics.kmc.geometry import (
    displacements,
    farthest,
    lattice_rotations,
    mappings,
)

Slab = Callable[..., Atoms]


@pytest.mark.parametrize(("name", "count"), [("fcc", 48), ("hcp", 24)])
def test_lattices_have_their_point_groups(name: str, count: int) -> None:
    atoms = bulk("Cu", "fcc", 3.6, cubic=True) if name == "fcc" else bulk("Mg", "hcp", 3.2, c=5.2)
    assert len(lattice_rotations(atoms)) == count


def test_an_adatom_has_the_symmetry_of_its_hollow(slab: Slab) -> None:
    atoms = slab("Cu")
    found = list(mappings(atoms, atoms, 0.1))
    assert len(found) == 8  # 4mm
    assert np.allclose(found[0].rotation, np.eye(3))
    assert (found[0].order == np.arange(len(atoms))).all()
    moved = np.random.default_rng(0).normal(size=(len(atoms), 3))
    for mapping in found:
        turned = mapping.carried(moved)
        assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(moved))


def test_the_same_structure_elsewhere_is_recognised(slab: Slab) -> None:
    atoms = slab("Cu")
    rng = np.random.default_rng(2)
    rotation = lattice_rotations(atoms)[5]
    other = atoms.copy()
    # held atoms must come to lie on held ones: a lattice vector of the surface
    other.positions = atoms.positions @ rotation
    other.positions += atoms.cell[0] / 3 - 2 * atoms.cell[1]
    other.positions[9:] += rng.normal(scale=0.01, size=(len(atoms) - 9, 3))
    shuffled = rng.permutation(len(atoms) - 10) + 9
    order = np.concatenate([np.arange(9), shuffled, [len(atoms) - 1]])
    other = other[order]
    mapping = next(mappings(atoms, other, 0.1))
    carried = atoms.positions @ mapping.rotation + mapping.translation
    landed = other.copy()
    landed.positions[mapping.order] = carried
    assert farthest(displacements(other, landed)) < 0.05


def test_different_structures_are_not_mapped(slab: Slab) -> None:
    atoms = slab("Cu")
    bridge = atoms.copy()
    bridge.positions[-1] += atoms.cell[0] / 6
    assert next(mappings(atoms, bridge, 0.2), None) is None
    near = atoms.copy()
    near.positions[-1, 2] += 0.5
    assert next(mappings(atoms, near, 0.2), None) is None
    other = atoms.copy()
    other.symbols[-1] = "Au"
    assert next(mappings(atoms, other, 0.2), None) is None


def test_a_drift_of_everything_is_no_displacement() -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    moved = atoms.copy()
    moved.positions += 0.4
    moved.positions[0] += atoms.cell[0]
    assert farthest(displacements(atoms, moved)) < 1e-9
