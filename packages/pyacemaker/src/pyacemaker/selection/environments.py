"""Structures as sets of atomic environments: what they add, and whether they are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet, BBasisConfiguration

from pyacemaker.selection.base import Selection
from pyacemaker.trainer.active_set import active_set_of, orders_of, scales_of
from pyacemaker.trainer.design import Projector

Array = NDArray[np.float64]

DUPLICATE_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Environments:
    """The environments of one element in many structures.

    `rows` (n x F) are B-projections divided by each function's usual size, ordered by
    structure; `owner` (n) is the structure of each. Invariant under translation, rotation,
    reflection and permutation of like atoms, because the projections are.
    """

    rows: Array
    owner: NDArray[np.intp]

    def of(self, structure: int) -> Array:
        """Return the rows of one structure (its atoms of this element x F)."""
        first, last = np.searchsorted(self.owner, [structure, structure + 1])
        return self.rows[first:last]


def environments_of(projector: Projector, structures: Sequence[Atoms]) -> dict[str, Environments]:
    """Return the environments of every element. Raises PotentialError for unknown elements."""
    parts = [projector.projections(atoms) for atoms in structures]
    orders = orders_of(projector.basis)
    found = {}
    for element in projector.elements:
        rows = np.vstack([np.zeros((0, projector.counts[element])), *(p[element] for p in parts)])
        owner = np.repeat(np.arange(len(parts)), [len(p[element]) for p in parts])
        found[element] = Environments(rows / scales_of(rows, orders[element]), owner)
    return found


class Seen:
    """Remembers structures and recognises one that is the same again, or nearly.

    Two structures are the same if every environment of either has one in the other whose
    projections differ by less than `tolerance` of their own length (so a crystal and its
    supercell are). 2e-3 is, for Cu and Si, a uniform strain of 1e-4, every atom moved by
    0.0003 angstrom, or one atom of a perfect crystal by 0.005: less than a label can teach,
    while a phonon calculation's 0.01 angstrom remains news.
    """

    def __init__(self, environments: dict[str, Environments], tolerance: float) -> None:
        self._environments = environments
        self._tolerance = tolerance
        self._members: list[int] = []

    def add(self, structure: int) -> None:
        """Remember a structure."""
        self._members.append(structure)

    def knows(self, structure: int) -> bool:
        """Say whether the same structure was added before."""
        alike = np.ones(len(self._members), dtype=bool)
        for environments in self._environments.values():
            mine = environments.of(structure)
            for place in np.flatnonzero(alike):
                other = environments.of(self._members[place])
                alike[place] = self._same(mine, other)
            if not alike.any():
                return False
        return bool(alike.any())

    def _same(self, mine: Array, other: Array) -> bool:
        if len(mine) == 0 or len(other) == 0:
            return len(mine) == len(other)
        sizes = np.einsum("af,af->a", mine, mine)[:, None], np.einsum("bf,bf->b", other, other)
        # A cheap look first: environments of unlike length are unlike.
        if not np.isclose(np.sqrt(sizes[0].max()), np.sqrt(sizes[1].max()), rtol=0.1, atol=1e-12):
            return False
        apart = np.maximum(sizes[0] + sizes[1] - 2.0 * mine @ other.T, 0.0)
        near = apart <= self._tolerance**2 * np.maximum(sizes[0], sizes[1]) + 1e-24
        return bool(near.any(axis=1).all() and near.any(axis=0).all())


class ByEnvironments:
    """What all selectors share: a basis to see structures by."""

    def __init__(
        self,
        basis: ACEBBasisSet | BBasisConfiguration,
        duplicate_tolerance: float = DUPLICATE_TOLERANCE,
    ) -> None:
        basis_set = basis if isinstance(basis, ACEBBasisSet) else ACEBBasisSet(basis)
        self._projector = Projector(basis_set)
        self._orders = orders_of(basis_set)
        self.duplicate_tolerance = duplicate_tolerance

    def _look(
        self, pool: Sequence[Atoms], current: Sequence[Atoms]
    ) -> tuple[dict[str, Environments], Seen]:
        """Return the environments of current, then pool, and the memory of current."""
        environments = environments_of(self._projector, [*current, *pool])
        seen = Seen(environments, self.duplicate_tolerance)
        for index in range(len(current)):
            seen.add(index)
        return environments, seen

    def _grades(
        self, environments: dict[str, Environments], known: Sequence[int], total: int
    ) -> tuple[Array, dict[str, Array]]:
        """Return gamma against the structures `known`: of each structure, of each environment."""
        of_structure = np.zeros(total)
        of_row = {}
        for element, found in environments.items():
            inside = np.isin(found.owner, np.asarray(known, dtype=int))
            active = active_set_of(found.rows[inside], self._orders[element])
            of_row[element] = active.gamma(found.rows)
            np.maximum.at(of_structure, found.owner, of_row[element])
        return of_structure, of_row

    def _first(
        self, pool: Sequence[Atoms], current: Sequence[Atoms], order: Iterable[int], count: int
    ) -> Selection:
        """Choose the first `count` of `pool` in this order that are no duplicates.

        Their gamma is against `current`.
        """
        environments, seen = self._look(pool, current)
        offset, total = len(current), len(current) + len(pool)
        gamma, _ = self._grades(environments, list(range(offset)), total)
        chosen: list[int] = []
        for index in order:
            if len(chosen) == count:
                break
            if not seen.knows(offset + index):
                seen.add(offset + index)
                chosen.append(index)
        return Selection(tuple(chosen), tuple(float(gamma[offset + n]) for n in chosen))
