"""The one interface of every source of labels.

Units: eV, angstrom, eV/angstrom^3 (ASE's sign and Voigt order xx, yy, zz, yz, xz, xy).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms


@dataclass(frozen=True)
class Label:
    """A structure with the energy, forces and stress a quantum-mechanical code gave it.

    `atoms` carries a SinglePointCalculator with `energy` (eV; the free energy E - TS
    where electrons are smeared, so that it is consistent with the forces), `forces`
    (N x 3, eV/angstrom) and `stress` (6, eV/angstrom^3). `settings` is everything
    physical that determines these numbers and is part of the label's key. `meta` is
    what does not: wall time (`wall_s`), attempts, SCF iterations, remedies.
    """

    atoms: Atoms
    settings: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)


class OracleError(RuntimeError):
    """A structure that could not be labelled; the message is its diagnosis in one line.

    `meta` holds the record of the attempts (each with its reason).
    """

    def __init__(self, diagnosis: str, meta: Mapping[str, Any] | None = None) -> None:
        super().__init__(diagnosis)
        self.diagnosis = diagnosis
        self.meta = dict(meta or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.diagnosis, self.meta))


class Oracle(Protocol):
    """Turns a structure into a label. Picklable, so that it can be sent to a worker."""

    @property
    def name(self) -> str:
        """Short name for reports: ``espresso``, ``ase``."""

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return every physical choice that determines the label of `atoms`.

        Plain JSON values only: functional, pseudopotential checksums, cutoffs (Ry),
        k-point mesh, smearing, spin. Two oracles whose settings agree must give the
        same label to well within its error.
        """

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Label `atoms` in `workdir`, or recover a finished result that lies there.

        Called with a directory of its own for each (structure, settings). If the
        process was killed after the code had finished, the finished output in
        `workdir` is read and nothing is computed again.

        Raises OracleError if no converged result could be had.
        """
