from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.oracle.espresso.kmesh import boxed, kmesh


@pytest.mark.parametrize(
    ("atoms", "spacing", "mesh"),
    [
        # |b| = 2 pi / 5.43 = 1.157 for the cube, sqrt(3) of it for the primitive cell
        (bulk("Si", a=5.43, cubic=True), 0.4, (3, 3, 3)),
        (bulk("Si", a=5.43), 0.4, (6, 6, 6)),
        (bulk("Si", a=5.43), 5.0, (1, 1, 1)),
        (bulk("Si", a=2 * np.pi, cubic=True), 0.5, (2, 2, 2)),  # exactly 2 intervals, not 3
        (bulk("Si", a=5.43, cubic=True) * (2, 1, 1), 0.4, (2, 3, 3)),
        (Atoms("Si", cell=[12] * 3, pbc=True), 0.2, (1, 1, 1)),
        (bulk("Cs"), 0.3, (5, 5, 5)),  # large, but no vacuum
    ],
)
def test_mesh(atoms: Atoms, spacing: float, mesh: tuple[int, int, int]) -> None:
    assert kmesh(boxed(atoms), spacing) == mesh


def test_slab_has_one_point_along_its_vacuum() -> None:
    slab = fcc111("Al", (1, 1, 4), vacuum=5.0, periodic=True)
    mesh = kmesh(boxed(slab), 0.3)
    assert mesh[2] == 1
    assert min(mesh[:2]) >= 8


def test_open_directions_get_a_box() -> None:
    sheet = graphene()
    assert list(sheet.pbc) == [True, True, False]
    box = boxed(sheet)
    assert box.pbc.all()
    assert box.cell.lengths()[2] == pytest.approx(10.0)
    np.testing.assert_allclose(box.cell.array[:2], sheet.cell.array[:2])
    assert kmesh(box, 0.5)[2] == 1

    dimer = Atoms("Si2", [[0, 0, 0], [1.0, 1.0, 2.0]])
    box = boxed(dimer)
    np.testing.assert_allclose(box.cell.array, np.diag([11.0, 11.0, 12.0]))
    np.testing.assert_allclose(box.positions, dimer.positions)
    assert kmesh(box, 0.1) == (1, 1, 1)

    wire = Atoms("Al", cell=[0, 0, 2.5], pbc=[False, False, True])
    box = boxed(wire)
    assert box.get_volume() == pytest.approx(2.5 * 100)
    assert kmesh(box, 0.5)[:2] == (1, 1)


def test_a_box_that_is_wide_enough_stays() -> None:
    atom = Atoms("Si", cell=[15, 14, 13], pbc=False)
    np.testing.assert_allclose(boxed(atom).cell.array, np.diag([15, 14, 13]))


def test_left_handed_cells_are_turned() -> None:
    atoms = bulk("Si", a=5.43)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]], scale_atoms=False)
    sign = np.linalg.det(atoms.cell.array) * np.linalg.det(boxed(atoms).cell.array)
    assert sign != 0
    assert np.linalg.det(boxed(atoms).cell.array) > 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-6, 6), min_size=9, max_size=9),
    st.lists(st.floats(-9, 9), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_any_cell_becomes_a_right_handed_box(
    cell: list[float], positions: list[float], pbc: list[bool]
) -> None:
    atoms = Atoms("Si2", np.reshape(positions, (2, 3)), cell=np.reshape(cell, (3, 3)), pbc=pbc)
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) and np.linalg.svd(periodic)[1].min() < 0.5:
        return
    box = boxed(atoms)
    assert np.linalg.det(box.cell.array) > 0
    np.testing.assert_allclose(box.positions, atoms.positions)
    kept = {tuple(np.round(row, 9)) for row in box.cell.array}
    assert all(tuple(np.round(row, 9)) in kept for row in periodic)
    heights = 1 / np.linalg.norm(np.linalg.inv(box.cell.array), axis=0)
    if not any(pbc):
        assert heights.min() >= 10 - 1e-6
