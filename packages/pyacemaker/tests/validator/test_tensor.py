"""Frames, symmetry and averages of elastic tensors, against pymatgen."""

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal
from pymatgen.core.elasticity import ElasticTensor
from scipy.spatial.transform import Rotation

from pyacemaker.validator.tensor import crystal_frame, moduli, rotated, symmetrised


def random_tensor(seed: int = 5) -> np.ndarray:
    A = np.random.default_rng(seed).normal(size=(6, 6))
    return A @ A.T + 20 * np.eye(6)


def test_rotation_agrees_with_pymatgen():
    C, R = random_tensor(), Rotation.from_rotvec([0.3, -0.9, 0.5]).as_matrix()
    assert np.allclose(rotated(C, R), ElasticTensor.from_voigt(C).rotate(R).voigt, atol=1e-8)


def test_averages_agree_with_pymatgen():
    C = random_tensor()
    other, mine = ElasticTensor.from_voigt(C), moduli(C)
    assert mine.bulk_voigt == pytest.approx(other.k_voigt)
    assert mine.bulk_reuss == pytest.approx(other.k_reuss)
    assert mine.bulk == pytest.approx(other.k_vrh)
    assert mine.shear == pytest.approx(other.g_vrh)
    assert mine.poisson == pytest.approx(other.homogeneous_poisson)


STRUCTURES = {
    "quartz 152": crystal(
        ["Si", "O"],
        [(0.47, 0, 1 / 3), (0.41, 0.27, 0.12 + 1 / 3)],
        spacegroup=152,
        cellpar=[4.91, 4.91, 5.40, 90, 90, 120],
    ),
    "312-type 162": crystal(
        ["Ti", "O"],
        [(0, 0, 0), (0.33, 0, 0.29)],
        spacegroup=162,
        cellpar=[5, 5, 7, 90, 90, 120],
    ),
    "rutile 136": crystal(
        ["Ti", "O"],
        [(0, 0, 0), (0.305, 0.305, 0)],
        spacegroup=136,
        cellpar=[4.6, 4.6, 2.95, 90, 90, 90],
    ),
    "scheelite 88": crystal(
        ["W", "O"],
        [(0, 0, 0.5), (0.24, 0.1, 0.04)],
        spacegroup=88,
        cellpar=[5.24, 5.24, 11.38, 90, 90, 90],
    ),
    "diopside-like 15": crystal(
        ["Mg", "O"],
        [(0, 0.9, 0.25), (0.12, 0.09, 0.14)],
        spacegroup=15,
        cellpar=[9.7, 8.9, 5.25, 90, 106, 90],
    ),
}
ZERO = {
    "quartz 152": ("C15", "C16", "C36", "C45", "C34", "C35"),
    "312-type 162": ("C15", "C16", "C36", "C45", "C34", "C35"),
    "rutile 136": ("C14", "C15", "C16", "C45"),
    "scheelite 88": ("C14", "C15", "C45", "C36"),
    "diopside-like 15": ("C14", "C16", "C24", "C26", "C45", "C56"),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("turned", [False, True])
def test_standard_frame_gives_the_form_of_the_class(name, turned):
    """Whatever way the crystal lies, the standard form's zeros are zeros."""
    atoms = STRUCTURES[name].copy()
    if turned:
        atoms.rotate(41, (1, -2, 0.7), rotate_cell=True)
    frame = crystal_frame(atoms, 1e-3)
    assert frame.space_group == int(name.split()[-1])
    C = rotated(symmetrised(random_tensor(), frame.rotations), frame.to_standard)
    for key in ZERO[name]:
        assert abs(C[int(key[1]) - 1, int(key[2]) - 1]) < 1e-4
    if "162" in name or "152" in name:
        assert abs(C[0, 3]) > 1e-3
    if "15" in name.split()[-1:]:
        assert abs(C[0, 4]) > 1e-3
    if "88" in name:
        assert abs(C[0, 5]) > 1e-3


def test_symmetrised_tensor_of_diamond_is_cubic():
    frame = crystal_frame(bulk("Si"), 1e-3)
    assert len(frame.rotations) == 48
    C = symmetrised(random_tensor(), frame.rotations)
    assert C[0, 0] == pytest.approx(C[2, 2])
    assert C[3, 3] == pytest.approx(C[5, 5])
    assert C[0, 1] == pytest.approx(C[1, 2])
    assert np.abs(C[:3, 3:]).max() < 1e-4
