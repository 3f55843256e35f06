"""Between ASE's cell and LAMMPS' box: there and back without losing anything.

LAMMPS wants a right-handed box with its first vector along x and its second in the xy plane.
Atoms are turned into that frame by ASE's Prism; what comes back is turned by its inverse, so
the caller sees its own orientation, its own images (atoms are not wrapped) and its own order.
A vector that is not periodic has no meaning in LAMMPS; it is replaced by one at right angles
to the periodic ones that encloses the atoms, and given back unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.cell import Cell
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MARGIN_A = 2.0


@dataclass(frozen=True)
class LammpsBox:
    """A LAMMPS box and the rotation that leads to it.

    Attributes
    ----------
    lower
        The box's lower corner (3, angstrom).
    vectors
        The box's vectors as rows, lower triangular (3 x 3, angstrom).
    rotation
        3 x 3 orthogonal matrix: `v_ase @ rotation = v_lammps` for row vectors. Improper
        for a left-handed cell, which changes no energy.
    periodic
        Which of the three directions are periodic.
    """

    lower: Array
    vectors: Array
    rotation: Array
    periodic: tuple[bool, bool, bool]

    @classmethod
    def of(cls, atoms: Atoms) -> LammpsBox:
        """Return the box for `atoms`."""
        pbc = np.asarray(atoms.pbc, dtype=bool)
        cell = np.array(atoms.cell, dtype=float)
        cell[~pbc] = 0.0
        cell = np.array(Cell(cell).complete(), dtype=float)
        prism = Prism(cell)
        rotation = np.asarray(prism.rot_mat, dtype=float)
        vectors = np.array(prism.lammps_tilt, dtype=float)
        vectors[np.abs(vectors) < 1e-12] = 0.0
        lower = np.zeros(3)
        turned = atoms.positions @ rotation
        for axis in np.flatnonzero(~pbc):
            lower[axis] = turned[:, axis].min() - _MARGIN_A
            vectors[axis, axis] = turned[:, axis].max() + _MARGIN_A - lower[axis]
        return cls(lower, vectors, rotation, (bool(pbc[0]), bool(pbc[1]), bool(pbc[2])))

    @property
    def is_tilted(self) -> bool:
        """Whether the box is not orthogonal."""
        return bool(np.any(self.vectors[np.tril_indices(3, -1)] != 0.0))

    def to_lammps(self, vectors: Array) -> Array:
        """Turn row vectors (N x 3) from ASE's frame into LAMMPS'."""
        return np.asarray(vectors @ self.rotation)

    def to_ase(self, vectors: Array) -> Array:
        """Turn row vectors (N x 3) from LAMMPS' frame into ASE's."""
        return np.asarray(vectors @ self.rotation.T)

    def tensor_to_ase(self, tensor: Array) -> Array:
        """Turn a symmetric tensor (3 x 3) from LAMMPS' frame into ASE's."""
        return np.asarray(self.rotation @ tensor @ self.rotation.T)

    def apply(self, atoms: Atoms, lower: Array, vectors: Array, positions: Array) -> None:
        """Give `atoms` the cell and the positions (in place) that a LAMMPS frame holds.

        `positions` (N x 3, angstrom) are unwrapped and in the order of `atoms`. A barostat
        moves the box's corner; in ASE the corner of the cell stays at the origin.
        """
        pbc = np.array(self.periodic)
        cell = np.array(atoms.cell, dtype=float)
        cell[pbc] = self.to_ase(vectors)[pbc]
        atoms.set_cell(cell)
        moved = np.where(pbc, lower - self.lower, 0.0)
        atoms.set_positions(self.to_ase(positions - moved), apply_constraint=False)
