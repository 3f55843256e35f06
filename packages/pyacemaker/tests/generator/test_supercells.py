"""Supercells are as wide as a cell of their volume can be."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.supercells import hermite_normal_forms, supercell


def width(atoms):
    reciprocal = np.linalg.inv(atoms.cell.array)
    return float((1 / np.linalg.norm(reciprocal, axis=0)).min())


@pytest.mark.parametrize(("size", "number"), [(1, 1), (2, 7), (3, 13), (4, 35), (6, 91), (8, 155)])
def test_number_of_superlattices_is_hart_and_forcades(size, number):
    forms = hermite_normal_forms(size)
    assert len(forms) == number
    assert np.allclose(np.linalg.det(forms), size)


@pytest.mark.parametrize(
    ("atoms", "target", "edge"),
    [
        (bulk("Si"), 8, 5.43),
        (bulk("Si"), 64, 10.86),
        (bulk("Cu"), 32, 7.22),
        (bulk("Cu"), 108, 10.83),
        (bulk("Fe"), 54, 8.61),
        (bulk("NaCl", "rocksalt", a=5.64), 64, 11.28),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_cubic_crystals_give_cubes_whatever_their_orientation(atoms, target, edge, turned):
    if turned:
        atoms = atoms.copy()
        atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    made = supercell(atoms, target)
    assert len(made) == target
    assert made.cell.lengths() == pytest.approx([edge] * 3, rel=1e-6)
    assert made.cell.angles() == pytest.approx([90] * 3, abs=1e-6)


def test_too_small_a_target_is_refused():
    with pytest.raises(GeneratorError, match="at most 1"):
        supercell(bulk("Si"), 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.sampled_from(["Ti", "Si", "Fe", "Sn", "Hg", "Zn"]))
def test_no_plain_repetition_is_wider(target, symbol):
    atoms = bulk(symbol)
    if target < len(atoms):
        return
    made = supercell(atoms, target)
    assert len(made) <= target
    assert np.linalg.det(made.cell.array) > 0
    assert made.get_volume() / len(made) == pytest.approx(atoms.get_volume() / len(atoms))
    most = target // len(atoms)
    for i in range(1, most + 1):
        for j in range(1, most // i + 1):
            for k in range(1, most // (i * j) + 1):
                assert width(made) >= width(atoms.repeat((i, j, k))) - 1e-5
