"""What a walk may begin with."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.geometry import fixed_atoms, free_atoms

_FLAT = 1e-3


def check_start(atoms: Atoms) -> None:
    """Look at the structure a walk is to begin with, before anything is computed.

    Raises DynamicsError, in one line with the remedy, for what cannot be walked from.
    """
    if len(atoms) == 0:
        raise DynamicsError("there are no atoms to move")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
        raise DynamicsError("a position or the cell is not finite")
    if len(atoms) < 2:
        raise DynamicsError("a walk needs at least two atoms")
    if atoms.pbc.any() and atoms.cell.rank < 3:
        raise DynamicsError("give all three cell vectors, of vacuum too")
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise DynamicsError(
                f"the constraint {type(constraint).__name__} is not known to a walk: hold whole "
                "atoms (FixAtoms; in a POSCAR F F F)"
            )
    if len(free_atoms(atoms)) == 0:
        raise DynamicsError("every atom is held, so there is nothing to move")
    if _may_turn(atoms):
        raise DynamicsError(
            "nothing keeps it from turning: harmonic rates are those of vibrations, and a "
            "structure that has turned is not recognised. Hold three atoms that lie on no line "
            "(FixAtoms), or put it on a surface"
        )


def _may_turn(atoms: Atoms) -> bool:
    """Say whether the whole may turn: it is periodic along less than two vectors, and not held.

    What is held, together with the periodic vector, must span a plane.
    """
    if atoms.pbc.sum() >= 2:
        return False
    held = atoms.positions[fixed_atoms(atoms)]
    if len(held) == 0:
        return True
    spanned = np.vstack([held - held[0], np.asarray(atoms.cell)[atoms.pbc]])
    return bool(np.linalg.matrix_rank(spanned, tol=_FLAT) < 2)
