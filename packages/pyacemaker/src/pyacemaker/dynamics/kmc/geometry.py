"""When are two structures the same? As they lie, or up to symmetry and the names of atoms."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_NEIGHBOURS = 1.25  # of the nearest neighbour's distance: between the first shell and the second
_METRIC = 1e-3


@dataclass(frozen=True)
class Mapping:
    """A rigid motion that carries one structure onto another.

    Atom `i` at `x` comes to lie at `x @ rotation + translation`, where the other structure
    has its atom `order[i]` (up to lattice vectors).
    """

    rotation: Array
    translation: Array
    order: Indices

    def carried(self, vectors: Array) -> Array:
        """Return displacements (N x 3, angstrom) in the other structure's frame and order."""
        out = np.empty_like(vectors)
        out[self.order] = vectors @ self.rotation
        return out


def fixed_atoms(atoms: Atoms) -> Indices:
    """Return the indices that FixAtoms holds."""
    held = [c.get_indices() for c in atoms.constraints if isinstance(c, FixAtoms)]
    return np.unique(np.concatenate(held)) if held else np.array([], dtype=np.int64)


def free_atoms(atoms: Atoms) -> Indices:
    """Return the indices that may move."""
    return np.setdiff1d(np.arange(len(atoms)), fixed_atoms(atoms))


def displacements(start: Atoms, end: Atoms) -> Array:
    """Return how far every atom of `start` lies from the nearest image in `end` (N x 3).

    Where no atom is held, a drift of all atoms together does not count.
    """
    moved = find_mic(end.positions - start.positions, start.cell, start.pbc)[0]
    if len(fixed_atoms(start)) == 0:
        moved = moved - moved.mean(axis=0)
    return np.asarray(moved, dtype=float)


def farthest(vectors: Array) -> float:
    """Return the length of the longest of N vectors (angstrom)."""
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


def coordination(atoms: Atoms) -> Indices:
    """Return the number of nearest neighbours of every atom.

    Neighbours are within 1.25 times the median distance of a nearest neighbour.
    """
    first, distance = neighbor_list("id", atoms, _search_radius(atoms))
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, first, distance)
    reach = _NEIGHBOURS * float(np.median(nearest[np.isfinite(nearest)], axis=0))
    return np.bincount(first[distance < reach], minlength=len(atoms)).astype(np.int64)


def _search_radius(atoms: Atoms) -> float:
    radius = 3.0
    while True:
        first = neighbor_list("i", atoms, radius)
        if len(np.unique(first)) == len(atoms) or radius > 20.0:
            return 1.3 * radius
        radius *= 1.3


def lattice_rotations(atoms: Atoms) -> list[Array]:
    """Return the rotations and reflections (row vectors: `x @ R`) that keep the lattice.

    Vectors that are not periodic must come to lie on themselves or their opposite.
    """
    cell = np.asarray(atoms.cell.complete(), dtype=float)
    metric = cell @ cell.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    whole = np.array(list(itertools.product((-1, 0, 1), repeat=9)), dtype=float).reshape(-1, 3, 3)
    for axis in np.flatnonzero(~atoms.pbc):
        others = [k for k in range(3) if k != axis]
        alone = (whole[:, axis, others] == 0).all(axis=1) & (whole[:, others, axis] == 0).all(
            axis=1
        )
        whole = whole[alone & (whole[:, axis, axis] != 0)]
    kept = np.abs(whole @ metric @ whole.transpose(0, 2, 1) - metric) < _METRIC * scale
    inverse = np.linalg.inv(cell)
    return [inverse @ found @ cell for found in whole[kept.all(axis=(1, 2))]]


def mappings(
    start: Atoms, end: Atoms, tolerance_A: float, rotations: list[Array] | None = None
) -> Iterator[Mapping]:
    """Yield every rigid motion of the lattice's symmetry that carries `start` onto `end`.

    Atoms of one element are exchangeable; held atoms come to lie on held atoms. With `end`
    the same as `start` these are its symmetries, the identity first.
    """
    names, other_names = _signatures(start), _signatures(end)
    if Counter(names) != Counter(other_names):
        return
    rarest = min(Counter(names).items(), key=lambda item: (item[1], item[0]))[0]
    anchor = names.index(rarest)
    places = [index for index, name in enumerate(other_names) if name == rarest]
    if anchor in places:
        places.remove(anchor)
        places.insert(0, anchor)
    found = rotations if rotations is not None else lattice_rotations(start)
    ordered = sorted(found, key=lambda r: -float(np.trace(r)))  # the identity first
    for place, rotation in itertools.product(places, ordered):
        translation = end.positions[place] - start.positions[anchor] @ rotation
        mapping = _matched(start, end, rotation, translation, tolerance_A)
        if mapping is not None:
            yield mapping


def _signatures(atoms: Atoms) -> list[tuple[int, bool, int]]:
    """Return element, whether it is held, and coordination of every atom."""
    held = set(fixed_atoms(atoms).tolist())
    counts = coordination(atoms)
    return [(int(z), i in held, int(counts[i])) for i, z in enumerate(atoms.numbers)]


def _matched(
    start: Atoms, end: Atoms, rotation: Array, translation: Array, tolerance_A: float
) -> Mapping | None:
    cell = np.asarray(end.cell.complete(), dtype=float)
    inverse = np.linalg.inv(cell)
    moved = start.positions @ rotation + translation
    apart = (end.positions[None, :, :] - moved[:, None, :]) @ inverse
    apart[..., end.pbc] -= np.round(apart[..., end.pbc])
    apart = apart @ cell
    squared = np.einsum("ijk,ijk->ij", apart, apart)
    squared[start.numbers[:, None] != end.numbers[None, :]] = np.inf
    order = squared.argmin(axis=1)
    rows = np.arange(len(start))
    if len(np.unique(order)) < len(order) or squared[rows, order].max() > (2 * tolerance_A) ** 2:
        return None
    residual = apart[rows, order]
    held, other = fixed_atoms(start), set(fixed_atoms(end).tolist())
    # what is held lies exactly on what is held; free structures as well as they can
    shift = (residual[held] if len(held) else residual).mean(axis=0)
    if farthest(residual - shift) > tolerance_A:
        return None
    if not {int(order[index]) for index in held} <= other:
        return None
    return Mapping(rotation, translation + shift, order.astype(np.int64))
