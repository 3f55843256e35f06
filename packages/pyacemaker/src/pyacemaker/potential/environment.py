"""Atoms as pyace wants them: any periodicity, elements checked, nothing left to crash on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from pyace.atomicenvironment import ACEAtomicEnvironment
from pyace.catomicenvironment import build_atomic_env

from pyacemaker.potential.manifest import PotentialError


def atomic_environment(
    atoms: Atoms, cutoff_A: float, species: Mapping[str, int]
) -> ACEAtomicEnvironment:
    """Return the neighbour list of `atoms` for the pyace evaluators.

    Cells may be smaller than the cutoff and periodic along any of their vectors.

    Raises
    ------
    PotentialError
        For an element that is not in `species`, positions that are not finite, or a
        periodic cell without volume.
    """
    symbols = atoms.get_chemical_symbols()
    check_elements(symbols, species)
    positions = np.ascontiguousarray(atoms.positions, dtype=float)
    if not np.isfinite(positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
        raise PotentialError(
            f"{atoms.get_chemical_formula()}: a position or the cell is not finite"
        )
    periodic = bool(atoms.pbc.any())
    cell = _closed_cell(atoms, cutoff_A) if periodic else np.eye(3)
    try:
        environment = build_atomic_env(positions, cell, atoms.numbers, periodic, cutoff_A)
    except RuntimeError:  # pyace refuses very oblique cells: give it the same lattice, reduced
        cell = _right_handed(minkowski_reduce(cell)[0])
        environment = build_atomic_env(positions, cell, atoms.numbers, periodic, cutoff_A)
    index_of = {
        number: species[symbol] for number, symbol in zip(atoms.numbers, symbols, strict=True)
    }
    environment.species_type = [index_of[number] for number in environment.species_type]
    return environment


def check_elements(symbols: list[str], species: Mapping[str, int]) -> None:
    """Raise PotentialError naming the elements among `symbols` that `species` lacks."""
    unknown = sorted(set(symbols) - set(species))
    if unknown:
        raise PotentialError(
            f"the potential does not know {', '.join(unknown)}: it is for {', '.join(species)}"
        )


def _closed_cell(atoms: Atoms, cutoff_A: float) -> NDArray[np.float64]:
    """Return a cell periodic along all vectors in which atoms see no image they should not.

    pyace knows only fully periodic and isolated; along a vector that is not periodic the cell
    is made longer than the atoms' extent and the cutoff together.
    """
    cell = np.array(atoms.cell.complete(), dtype=float)
    if abs(np.linalg.det(cell)) < 1e-6:
        raise PotentialError(f"{atoms.get_chemical_formula()}: a periodic cell without volume")
    if atoms.pbc.all():
        return _right_handed(cell)
    normals = np.linalg.inv(cell).T
    for axis in np.flatnonzero(~atoms.pbc):
        height = 1.0 / np.linalg.norm(normals[axis])
        along = atoms.positions @ normals[axis] * height
        needed = np.ptp(along) + cutoff_A + 1.0
        cell[axis] *= max(1.0, needed / height)
    return _right_handed(cell)


def _right_handed(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a cell of the same lattice with positive volume: pyace takes no other."""
    return np.ascontiguousarray(cell if np.linalg.det(cell) > 0.0 else -cell)
