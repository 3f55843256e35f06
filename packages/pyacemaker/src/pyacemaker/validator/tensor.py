"""Elastic tensors: Voigt and full form, frames, symmetry, averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms

from pyacemaker.validator.born import LaueClass, laue_class
from pyacemaker.validator.evaluation import Floats

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_INDEX = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])

# Trigonal groups whose twofold axes (mirror normals) lie 30 degrees from a: 312, 31m, -31m.
_TWOFOLD_OFF_A = (149, 151, 153, 157, 159, 162, 163)


@dataclass(frozen=True)
class CrystalFrame:
    """How a crystal stands: its point group and the way to the standard frame.

    `rotations` (n x 3 x 3, Cartesian, in the crystal's own frame), `to_standard` (3 x 3:
    v_standard = to_standard @ v).
    """

    space_group: int
    symbol: str
    laue: LaueClass
    rotations: Floats
    to_standard: Floats


@dataclass(frozen=True)
class Moduli:
    """Averages of Voigt, Reuss and Hill in GPa (R. Hill, Proc. Phys. Soc. A 65, 349 (1952))."""

    bulk_voigt: float
    bulk_reuss: float
    shear_voigt: float
    shear_reuss: float

    @property
    def bulk(self) -> float:
        """Hill's bulk modulus."""
        return (self.bulk_voigt + self.bulk_reuss) / 2

    @property
    def shear(self) -> float:
        """Hill's shear modulus."""
        return (self.shear_voigt + self.shear_reuss) / 2

    @property
    def youngs(self) -> float:
        """Young's modulus of the isotropic polycrystal."""
        return 9 * self.bulk * self.shear / (3 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio of the isotropic polycrystal."""
        return (3 * self.bulk - 2 * self.shear) / (2 * (3 * self.bulk + self.shear))


def crystal_frame(crystal: Atoms, symprec: float) -> CrystalFrame:
    """Find the point group; a crystal in which spglib finds none is triclinic."""
    lattice = crystal.cell.array
    data = spglib.get_symmetry_dataset(
        (lattice, crystal.get_scaled_positions(), crystal.numbers), symprec=symprec
    )
    if data is None:
        return CrystalFrame(1, "P1", "triclinic", np.eye(3)[None], np.eye(3))
    columns = lattice.T
    inverse = np.linalg.inv(columns)
    rotations = np.array([_orthogonal(columns @ W @ inverse) for W in data.rotations])
    unique = np.unique(np.round(rotations, 6), axis=0)
    turn = _orthogonal(np.array(data.std_rotation_matrix))
    if data.number in _TWOFOLD_OFF_A:
        turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) @ turn
    return CrystalFrame(
        int(data.number), str(data.international), laue_class(int(data.number)), unique, turn
    )


def rotated(C: Floats, rotation: Floats) -> Floats:
    """Return a Voigt stiffness tensor in the frame turned by `rotation` (v' = rotation @ v)."""
    full = C[_INDEX[:, :, None, None], _INDEX[None, None, :, :]]
    R = rotation
    full = np.einsum("ai,bj,ck,dl,ijkl->abcd", R, R, R, R, full, optimize=True)
    return np.array([[full[(*a, *b)] for b in VOIGT] for a in VOIGT])


def symmetrised(C: Floats, rotations: Floats) -> Floats:
    """Return the mean of a Voigt stiffness tensor over a point group, made symmetric."""
    mean = np.mean([rotated(C, rotation) for rotation in rotations], axis=0)
    return np.asarray((mean + mean.T) / 2)


def moduli(C: Floats) -> Moduli:
    """Average a Voigt stiffness tensor (GPa). Raises numpy.linalg.LinAlgError if singular."""
    S = np.linalg.inv(C)
    a, b, c = np.trace(C[:3, :3]), C[0, 1] + C[0, 2] + C[1, 2], np.trace(C[3:, 3:])
    u, v, w = np.trace(S[:3, :3]), S[0, 1] + S[0, 2] + S[1, 2], np.trace(S[3:, 3:])
    return Moduli(
        bulk_voigt=float((a + 2 * b) / 9),
        bulk_reuss=float(1 / (u + 2 * v)),
        shear_voigt=float((a - b + 3 * c) / 15),
        shear_reuss=float(15 / (4 * u - 4 * v + 3 * w)),
    )


def _orthogonal(matrix: Floats) -> Floats:
    """Return the rotation nearest to `matrix` (a relaxed cell is symmetric to a tolerance)."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)
