"""What cannot be walked from is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms, FixCartesian

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.start import check_start

Slab = Callable[..., Atoms]


def test_slabs_and_crystals_may_be_walked_from(slab: Slab) -> None:
    check_start(slab("Cu", (2, 2, 3)))
    crystal = bulk("Cu", cubic=True)
    del crystal[0]
    check_start(crystal)


def test_a_structure_that_cannot_move_is_refused(slab: Slab) -> None:
    held = slab("Cu", (2, 2, 3))
    held.set_constraint(FixAtoms(range(len(held))))
    with pytest.raises(DynamicsError, match="every atom is held"):
        check_start(held)


def test_atoms_held_in_part_are_not_taken_for_free(slab: Slab) -> None:
    sliding = slab("Cu", (2, 2, 3))
    sliding.set_constraint(FixCartesian([0, 1], mask=(True, True, False)))
    with pytest.raises(DynamicsError, match="FixCartesian is not known to a walk"):
        check_start(sliding)


def test_what_may_turn_is_refused() -> None:
    cluster = Icosahedron("Cu", 2)
    with pytest.raises(DynamicsError, match="keeps it from turning"):
        check_start(cluster)
    cluster.set_constraint(FixAtoms([0, 1]))  # still about the line through both
    with pytest.raises(DynamicsError, match="keeps it from turning"):
        check_start(cluster)
    cluster.set_constraint(FixAtoms([0, 1, 2]))
    check_start(cluster)
    wire = cluster.copy()
    wire.set_constraint()
    wire.cell, wire.pbc = (20, 20, 6), (False, False, True)
    with pytest.raises(DynamicsError, match="keeps it from turning"):
        check_start(wire)
    wire.set_constraint(FixAtoms([0, 1]))
    check_start(wire)


def test_an_element_the_potential_does_not_know_is_told_in_one_line() -> None:
    landscape = Landscape(EMT(), "emt")
    with pytest.raises(DynamicsError, match="cannot evaluate the structure: No EMT-potential"):
        landscape.relaxed(bulk("Si"), 0.01, 10)
