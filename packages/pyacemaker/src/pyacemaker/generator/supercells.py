"""Supercells as near to a cube as an integer matrix can make them."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import make_supercell

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import bare

UNITS = (1, 2, 4, 6, 8, 12, 24)
"""Sizes of the small cells whose repetitions and axes are tried for large ones."""

Matrix = npt.NDArray[np.float64]

STEPS = np.array(list(product((-1.0, 0.0, 1.0), repeat=9))).reshape(-1, 3, 3)
ENUMERATED = 24
"""Largest number of cells for which every superlattice is looked at."""


def supercell(atoms: Atoms, target_atoms: int, *, exactly: bool = False) -> Atoms:
    """Return the repetition of `atoms` with the widest cell of at most `target_atoms` atoms.

    The width is the smallest distance between opposite faces, which of all cells of one
    volume is largest for the cube; equal widths go to the fewer atoms. Every superlattice
    of up to 24 cells is looked at (Hart and Forcade, Phys. Rev. B 77, 224115 (2008));
    larger ones are diagonal repetitions of good small cells, and integer matrices near the
    cubes along their axes. With `exactly` only cells of
    exactly `target_atoms` atoms are considered.

    Raises GeneratorError if `target_atoms` is smaller than the cell itself.
    """
    cells = target_atoms // len(atoms)
    if cells < 1:
        raise GeneratorError(
            f"a cell of {len(atoms)} atoms cannot be made of at most {target_atoms}: raise it"
        )
    if cells == 1:
        return bare(atoms)
    matrix = widest_matrix(np.asarray(atoms.cell.array, dtype=float), cells, exactly=exactly)
    return bare(make_supercell(bare(atoms), matrix))


def widest_matrix(cell: Matrix, cells: int, *, exactly: bool = False) -> npt.NDArray[np.int_]:
    """Return the integer matrix P (rows) for which P @ cell is widest; det P <= `cells`."""
    few = range(cells if exactly else 1, min(cells, ENUMERATED) + 1)
    candidates = [_reduced(hermite_normal_forms(n), cell) for n in few]
    if cells > ENUMERATED:
        units = [widest_matrix(cell, n) for n in UNITS]
        candidates += [_larger(cell, unit, cells, exactly=exactly) for unit in units]
        candidates.append(np.array([np.diag((1.0, 1.0, cells))]))  # there is always the plain row
    reduced = np.concatenate(candidates)
    widths = _widths(reduced @ cell)
    determinants = np.rint(_determinants(reduced))
    # ties go to fewer atoms, then to edges of equal length, then to the first found
    lengths = np.linalg.norm(reduced @ cell, axis=2)
    spread = lengths.max(axis=1) / lengths.min(axis=1)
    order = np.lexsort((np.round(spread, 6), determinants, -np.round(widths, 6)))
    chosen: npt.NDArray[np.int_] = np.rint(reduced[order[0]]).astype(int)
    if np.linalg.det(chosen @ cell) < 0:
        chosen[2] *= -1
    return chosen


@cache
def hermite_normal_forms(size: int) -> npt.NDArray[np.int_]:
    """Return every 3 x 3 Hermite normal form of determinant `size`: all superlattices."""
    found = []
    for a in range(1, size + 1):
        if size % a:
            continue
        for c in range(1, size // a + 1):
            if (size // a) % c:
                continue
            f = size // (a * c)
            for b, d, e in product(range(c), range(f), range(f)):
                found.append(((a, b, d), (0, c, e), (0, 0, f)))
    return np.array(found, dtype=int)


def _larger(cell: Matrix, unit: npt.NDArray[np.int_], cells: int, *, exactly: bool) -> Matrix:
    """Repetitions of a good small cell, and integer matrices near a cube along its axes."""
    axes = np.linalg.qr((unit @ cell).T)[0].T  # orthonormal, the first along an edge
    directions = axes * np.sign(np.sum(axes * (unit @ cell), axis=1))[:, None]
    volume = abs(float(np.linalg.det(cell)))
    sizes = [cells] if exactly else [round(cells * part) for part in (0.88, 0.94, 1.0)]
    starts = {
        tuple(np.rint((n * volume) ** (1 / 3) * directions @ np.linalg.inv(cell)).ravel().tolist())
        for n in sizes
    }
    most = cells // abs(round(float(np.linalg.det(unit))))
    repeats = [
        np.diag((i, j, k)) @ unit
        for i in range(1, most + 1)
        for j in range(1, most // i + 1)
        for k in range(max(1, most // (2 * i * j)), most // (i * j) + 1)
    ]
    near = [np.array(start).reshape(3, 3) + STEPS for start in sorted(starts)]
    matrices = np.concatenate([*near, np.array(repeats, dtype=float).reshape(-1, 3, 3)])
    determinants = np.rint(_determinants(matrices))
    fitting = determinants == cells if exactly else (determinants >= 1) & (determinants <= cells)
    return np.asarray(matrices[fitting])


def _determinants(matrices: Matrix) -> npt.NDArray[np.float64]:
    """Size of each determinant."""
    across = np.cross(matrices[:, 1], matrices[:, 2])
    return np.asarray(np.abs(np.sum(matrices[:, 0] * across, axis=1)))


def _reduced(matrices: npt.NDArray[np.int_], cell: Matrix) -> Matrix:
    """Shorten the edges of every superlattice by adding whole multiples of the others."""
    reduced = matrices.astype(float)
    for _ in range(12):
        before = reduced.copy()
        for i, j in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
            vectors = reduced @ cell
            along = np.sum(vectors[:, i] * vectors[:, j], axis=1)
            times = np.rint(along / np.sum(vectors[:, j] ** 2, axis=1) * (1 - 1e-9))
            reduced[:, i] -= times[:, None] * reduced[:, j]
        if np.array_equal(before, reduced):
            break
    # pairwise reduction can leave one edge longer than its sum with the two others
    for signs in product((-1, 1), repeat=2):
        for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
            other = reduced[:, i] + signs[0] * reduced[:, j] + signs[1] * reduced[:, k]
            shorter = np.linalg.norm(other @ cell, axis=1) < (
                np.linalg.norm(reduced[:, i] @ cell, axis=1) - 1e-9
            )
            reduced[shorter, i] = other[shorter]
    return reduced


def _widths(cells: Matrix) -> npt.NDArray[np.float64]:
    """Smallest distance between opposite faces of each cell (angstrom)."""
    volumes = _determinants(cells)
    faces = [
        np.linalg.norm(np.cross(cells[:, i], cells[:, j]), axis=1)
        for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    return np.asarray(volumes / np.max(faces, axis=0))
