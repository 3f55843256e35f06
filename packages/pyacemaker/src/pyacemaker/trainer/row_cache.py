"""Rows of the design matrix, computed once for each structure and by several processes.

A cycle of a campaign adds a few labels to hundreds: only theirs are computed. The rows that the
last fit used stay in memory; with a folder, those of every fit are kept in it too, one file for
each structure and basis, named by the hashes of both, so that a campaign that was stopped goes
on with what it had. What is read is what was computed, to the bit; a file that is broken is
computed anew.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from ase import Atoms
from pyace.basis import ACEBBasisSet

from pyacemaker.core_weight import CORE_WEIGHT, core_weights, is_embedded
from pyacemaker.files import write_whole
from pyacemaker.trainer.basis import basis_configuration, potential_config, two_reaches
from pyacemaker.trainer.design import Projector, Rows
from pyacemaker.trainer.settings import TrainerSettings

# Starting processes takes about as long as this many atoms times functions.
_WORTH_PROCESSES = 2_000_000
_FORMAT = 1  # counts what changes the rows of the same structure in the same basis


class RowCache:
    """The rows of one basis at a time.

    `workers` above one need a program that can be imported anew (`if __name__ == "__main__"`),
    as everything that starts processes does. Rows are also kept in `folder`, if one is named.
    """

    def __init__(self, workers: int = 1, folder: Path | None = None) -> None:
        self.workers = workers
        self.folder = folder
        self.computed = 0  # by the last call, for the record
        self._digest = ""
        self._projector: Projector | None = None
        self._rows: dict[str, Rows] = {}

    def rows(
        self, elements: Sequence[str], settings: TrainerSettings, structures: Sequence[Atoms]
    ) -> tuple[Projector, list[Rows]]:
        """Return a projector and the rows of `structures` in the linear basis of `settings`.

        Raises PotentialError for a structure pyace cannot take.
        """
        digest = _hash_of_basis(elements, settings)
        if self._digest != digest or self._projector is None:
            self._digest, self._rows = digest, {}
            self._projector = Projector(ACEBBasisSet(basis_configuration(elements, settings)))
        projector = self._projector
        keys = [_hash_of(atoms) for atoms in structures]
        home = self.folder / digest[:16] if self.folder else None
        for key in dict.fromkeys(keys):
            if home and key not in self._rows and (found := _read(home / f"{key}.npz", projector)):
                self._rows[key] = found
        missing = {k: a for k, a in zip(keys, structures, strict=True) if k not in self._rows}
        self.computed = len(missing)
        made = self._compute(list(missing.values()), projector, (tuple(elements), settings))
        for key, rows in zip(missing, made, strict=True):
            self._rows[key] = rows
            if home:
                _write(home / f"{key}.npz", rows)
        self._rows = {key: self._rows[key] for key in keys}
        return projector, [self._rows[key] for key in keys]

    def _compute(
        self,
        structures: list[Atoms],
        projector: Projector,
        basis: tuple[tuple[str, ...], TrainerSettings],
    ) -> list[Rows]:
        work = sum(len(atoms) for atoms in structures) * projector.total
        if self.workers < 2 or len(structures) < 2 or work < _WORTH_PROCESSES:
            return [projector.rows(atoms) for atoms in structures]
        plain = [_plain(atoms) for atoms in structures]
        with ProcessPoolExecutor(
            min(self.workers, len(structures)),
            mp_context=get_context("spawn"),
            initializer=_start,
            initargs=basis,
        ) as pool:
            return list(pool.map(_one, plain, chunksize=4))


_worker: Projector | None = None


def _start(elements: tuple[str, ...], settings: TrainerSettings) -> None:
    global _worker  # noqa: PLW0603 - the tables of a worker process, made once
    _worker = Projector(ACEBBasisSet(basis_configuration(elements, settings)))


def _one(atoms: Atoms) -> Rows:
    assert _worker is not None  # noqa: S101 - `_start` ran before
    return _worker.rows(atoms)


def _write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"energy": rows.energy, "forces": rows.forces}
    if rows.virial is not None:
        arrays["virial"] = rows.virial
    arrays |= {f"projections_{e}": values for e, values in rows.projections.items()}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_whole(path, stream.getvalue())


def _read(path: Path, projector: Projector) -> Rows | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            rows = Rows(
                stored["energy"],
                stored["forces"],
                stored.get("virial"),
                {e: stored[f"projections_{e}"] for e in projector.elements},
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # not there, or not whole
    return rows if rows.energy.shape == (projector.total,) else None


def _plain(atoms: Atoms) -> Atoms:
    """Return what the rows depend on, and nothing that would only be sent along."""
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if is_embedded(atoms):
        copy.set_array(CORE_WEIGHT, atoms.arrays[CORE_WEIGHT])
    return copy


def _hash_of_basis(elements: Sequence[str], settings: TrainerSettings) -> str:
    what = [_FORMAT, potential_config(elements, settings)]
    if settings.far_cutoff_A is not None:
        what.append(two_reaches(potential_config(elements, settings), settings.far_cutoff_A))
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _hash_of(atoms: Atoms) -> str:
    digest = hashlib.sha256(atoms.numbers.astype(np.int64).tobytes())
    for part in (atoms.positions, np.asarray(atoms.cell), atoms.pbc):
        digest.update(np.ascontiguousarray(part).tobytes())
    if is_embedded(atoms):
        digest.update(core_weights(atoms).tobytes())
    return digest.hexdigest()
