"""The gate in front of the first label: the plane-wave cutoff must be high enough.

An SCF converges at any cutoff; whether its numbers mean something it cannot say. So a few
small structures are computed at the chosen cutoff and at a higher one, and the cutoff is
raised until nothing that a potential learns from moves any more: pressures, and energy
differences between the structures (total energies converge far later, and need not).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from pyacemaker.oracle.base import Oracle, OracleError

_FLOOR_GPa = 0.05


@dataclass(frozen=True)
class CutoffRow:
    """A cutoff and the next higher one, compared over all structures.

    `pressures_GPa` and `energies_eV_per_atom` are of the structures at `ecutwfc_Ry`. The
    errors are the largest differences from the higher cutoff; None where either could not
    be computed, as `problem` says.
    """

    ecutwfc_Ry: float
    against_Ry: float
    pressures_GPa: tuple[float, ...]
    energies_eV_per_atom: tuple[float, ...]
    pressure_error_GPa: float | None
    energy_error_meV_per_atom: float | None
    allowed_GPa: float
    allowed_meV_per_atom: float
    problem: str = ""

    @property
    def converged(self) -> bool:
        """Whether both errors are within what is allowed."""
        return (
            self.pressure_error_GPa is not None
            and self.energy_error_meV_per_atom is not None
            and self.pressure_error_GPa <= self.allowed_GPa
            and self.energy_error_meV_per_atom <= self.allowed_meV_per_atom
        )


@dataclass(frozen=True)
class CutoffReport:
    """The cutoff to use (Ry), whether it passed, and every comparison on the way."""

    ecutwfc_Ry: float
    passed: bool
    rows: tuple[CutoffRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = [
            {**asdict(row), "pressures_GPa": list(row.pressures_GPa),
             "energies_eV_per_atom": list(row.energies_eV_per_atom), "converged": row.converged}
            for row in self.rows
        ]  # fmt: skip
        return {"ecutwfc_Ry": self.ecutwfc_Ry, "passed": self.passed, "rows": rows}


def converge_cutoff(
    make: Callable[[float], Oracle],
    start_Ry: float,
    structures: Sequence[Atoms],
    workdir: Path,
    *,
    pressure_GPa: float = 0.5,
    volume_strain: float = 0.003,
    energy_meV_per_atom: float = 2.0,
    step: float = 1.25,
    max_Ry: float | None = None,
) -> CutoffReport:
    """Raise the cutoff from `start_Ry` until pressures and energy differences are converged.

    Parameters
    ----------
    make
        Gives the oracle at a cutoff in Ry.
    structures
        Small periodic cells of one composition, at least one; best the reference cell and
        a compressed one, where cores come close.
    workdir
        Labels are kept in folders below it; a gate that was interrupted reads them back.
    pressure_GPa
        Largest pressure error in any case.
    volume_strain
        Largest pressure error in units of the bulk modulus (estimated from the structures
        of different volume), which is the error of the equilibrium volume: 0.003 is 0.1 %
        of the lattice constant. Never asked to be below 0.05 GPa, the noise of the FFT grid.
    energy_meV_per_atom
        Largest error of an energy difference between two structures, the size of the errors
        a good potential makes.
    step
        Ratio of a cutoff and the next.
    max_Ry
        Highest cutoff to compute at; default: 2.5 times the start, or 60 Ry above it.

    Raises
    ------
    OracleError
        Where a label fails for reasons a higher cutoff does not cure.
    ValueError
        For no structures or a step that does not go up.
    """
    if not structures:
        raise ValueError("the cutoff gate needs at least one structure")
    if not (start_Ry > 0 and step > 1):
        raise ValueError("the cutoff gate needs a positive cutoff and a step above 1")
    highest = max_Ry if max_Ry is not None else max(2.5 * start_Ry, start_Ry + 60)
    rows: list[CutoffRow] = []
    current = start_Ry
    measured = _measure(make, current, structures, workdir)
    while True:
        higher = float(math.ceil(current * step))
        if higher > highest:
            return CutoffReport(current, False, tuple(rows))
        reference = _measure(make, higher, structures, workdir)
        row = _compared(
            measured, reference, structures, pressure_GPa, volume_strain, energy_meV_per_atom
        )
        rows.append(row)
        if row.converged:
            return CutoffReport(current, True, tuple(rows))
        current, measured = higher, reference


@dataclass(frozen=True)
class _Measured:
    ecutwfc_Ry: float
    energies: tuple[float, ...]  # eV/atom
    pressures: tuple[float, ...]  # GPa
    problem: str = ""


def _measure(
    make: Callable[[float], Oracle], cutoff_Ry: float, structures: Sequence[Atoms], workdir: Path
) -> _Measured:
    oracle = make(cutoff_Ry)
    energies, pressures = [], []
    for index, atoms in enumerate(structures):
        folder = workdir / f"{cutoff_Ry:g}Ry" / f"structure_{index}"
        try:
            label = oracle.label(atoms, folder)
        except OracleError as error:
            if not _may_be_the_cutoff(error.meta):
                raise
            return _Measured(cutoff_Ry, (), (), error.diagnosis)
        energies.append(float(label.atoms.get_potential_energy()) / len(atoms))
        pressures.append(-float(np.mean(label.atoms.get_stress()[:3])) / GPa)
    return _Measured(cutoff_Ry, tuple(energies), tuple(pressures))


_OF_THE_BASIS = ("scf", "diagonalization", "numbers", "occupations", "fft", "program")


def _may_be_the_cutoff(meta: Mapping[str, Any]) -> bool:
    """Too small a basis can spoil an SCF; it does not remove programs or stop them."""
    attempts = meta.get("attempts") or []
    return bool(attempts) and (
        attempts[-1].get("class") != "program_missing"
        and attempts[-1].get("family") in _OF_THE_BASIS
    )


def _compared(
    low: _Measured,
    high: _Measured,
    structures: Sequence[Atoms],
    pressure_GPa: float,
    volume_strain: float,
    energy_meV_per_atom: float,
) -> CutoffRow:
    problem = low.problem or high.problem
    modulus = None if high.problem else _bulk_modulus(high.pressures, structures)
    allowed = pressure_GPa
    if modulus is not None:
        allowed = min(pressure_GPa, max(_FLOOR_GPa, volume_strain * modulus))
    pressure_error = energy_error = None
    if not problem:
        pressure_error = max(abs(a - b) for a, b in zip(low.pressures, high.pressures, strict=True))
        shifts = [a - b for a, b in zip(low.energies, high.energies, strict=True)]
        energy_error = 1000 * (max(shifts) - min(shifts))
    return CutoffRow(
        ecutwfc_Ry=low.ecutwfc_Ry,
        against_Ry=high.ecutwfc_Ry,
        pressures_GPa=low.pressures,
        energies_eV_per_atom=low.energies,
        pressure_error_GPa=pressure_error,
        energy_error_meV_per_atom=energy_error,
        allowed_GPa=allowed,
        allowed_meV_per_atom=energy_meV_per_atom,
        problem=problem,
    )


def _bulk_modulus(pressures_GPa: Sequence[float], structures: Sequence[Atoms]) -> float | None:
    """Return the least -dP/d ln V (GPa) between two of the structures, if volumes differ."""
    found = []
    states = [
        (pressure, atoms.get_volume() / len(atoms))
        for pressure, atoms in zip(pressures_GPa, structures, strict=True)
    ]
    for (p1, v1), (p2, v2) in itertools.combinations(states, 2):
        if abs(math.log(v1 / v2)) > 0.01:
            found.append((p1 - p2) / math.log(v2 / v1))
    positive = [modulus for modulus in found if modulus > 0]
    return min(positive) if positive else None
