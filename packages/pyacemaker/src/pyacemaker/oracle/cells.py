"""What every periodic code needs from a structure, and what its stress means for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.espresso.kmesh import boxed


def periodic_box(atoms: Atoms) -> Atoms:
    """Return the right-handed periodic cell to compute. Raises OracleError for no structure."""
    if len(atoms) == 0:
        raise OracleError("there is no atom in the structure")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise OracleError(f"{atoms.get_chemical_formula()}: a position or the cell is not finite")
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic, tol=1e-3) < len(periodic):
        raise OracleError(
            f"{atoms.get_chemical_formula()} is periodic but its cell has no volume; give it a "
            "cell, or pbc=False"
        )
    return boxed(atoms)


def stress_of(
    atoms: Atoms, box: Atoms, stress_eV_per_A3: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the stress of the structure itself, whose cell may be smaller than the box."""
    if atoms.pbc.all():
        return stress_eV_per_A3
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if not atoms.pbc.any() or volume < 1e-8:
        return np.zeros(6)  # no volume, no stress
    return stress_eV_per_A3 * (abs(float(np.linalg.det(box.cell.array))) / volume)
