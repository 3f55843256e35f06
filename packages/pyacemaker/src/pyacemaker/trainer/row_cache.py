"""Rows of the design matrix, computed once for each structure and by several processes.

A cycle of a campaign adds a few labels to hundreds: only theirs are computed. What is kept is
what the last fit used, in memory; a campaign that was killed computes them anew, to the bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from ase import Atoms
from pyace.basis import ACEBBasisSet

from pyacemaker.core_weight import CORE_WEIGHT, core_weights, is_embedded
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.design import Projector, Rows
from pyacemaker.trainer.settings import TrainerSettings

# Starting processes takes about as long as this many atoms times functions.
_WORTH_PROCESSES = 1_000_000


class RowCache:
    """The rows of one basis.

    `workers` above one need a program that can be imported anew (`if __name__ == "__main__"`),
    as everything that starts processes does.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.computed = 0  # by the last call, for the record
        self._basis: tuple[tuple[str, ...], TrainerSettings] | None = None
        self._projector: Projector | None = None
        self._rows: dict[str, Rows] = {}

    def rows(
        self, elements: Sequence[str], settings: TrainerSettings, structures: Sequence[Atoms]
    ) -> tuple[Projector, list[Rows]]:
        """Return a projector and the rows of `structures` in the linear basis of `settings`.

        Raises PotentialError for a structure pyace cannot take.
        """
        basis = (tuple(elements), settings)
        if self._basis != basis or self._projector is None:
            self._basis, self._rows = basis, {}
            self._projector = Projector(ACEBBasisSet(basis_configuration(*basis)))
        keys = [_hash_of(atoms) for atoms in structures]
        missing = {k: a for k, a in zip(keys, structures, strict=True) if k not in self._rows}
        self.computed = len(missing)
        made = self._compute(list(missing.values()), self._projector)
        self._rows.update(zip(missing, made, strict=True))
        self._rows = {key: self._rows[key] for key in keys}
        return self._projector, [self._rows[key] for key in keys]

    def _compute(self, structures: list[Atoms], projector: Projector) -> list[Rows]:
        work = sum(len(atoms) for atoms in structures) * projector.total
        if self.workers < 2 or len(structures) < 2 or work < _WORTH_PROCESSES:
            return [projector.rows(atoms) for atoms in structures]
        assert self._basis is not None  # noqa: S101 - set by the caller
        plain = [_plain(atoms) for atoms in structures]
        with ProcessPoolExecutor(
            min(self.workers, len(structures)),
            mp_context=get_context("spawn"),
            initializer=_start,
            initargs=self._basis,
        ) as pool:
            return list(pool.map(_one, plain, chunksize=4))


_worker: Projector | None = None


def _start(elements: tuple[str, ...], settings: TrainerSettings) -> None:
    global _worker  # noqa: PLW0603 - the tables of a worker process, made once
    _worker = Projector(ACEBBasisSet(basis_configuration(elements, settings)))


def _one(atoms: Atoms) -> Rows:
    assert _worker is not None  # noqa: S101 - `_start` ran before
    return _worker.rows(atoms)


def _plain(atoms: Atoms) -> Atoms:
    """Return what the rows depend on, and nothing that would only be sent along."""
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if is_embedded(atoms):
        copy.set_array(CORE_WEIGHT, atoms.arrays[CORE_WEIGHT])
    return copy


def _hash_of(atoms: Atoms) -> str:
    digest = hashlib.sha256(atoms.numbers.astype(np.int64).tobytes())
    for part in (atoms.positions, np.asarray(atoms.cell), atoms.pbc):
        digest.update(np.ascontiguousarray(part).tobytes())
    if is_embedded(atoms):
        digest.update(core_weights(atoms).tobytes())
    return digest.hexdigest()
