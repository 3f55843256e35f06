"""One evaluation of a potential, never trusted: what is not finite is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class PotentialError(RuntimeError):
    """The potential cannot be used on a structure; the message says why, in one line."""


@dataclass(frozen=True)
class Evaluation:
    """What a potential says of one structure.

    `energy_eV` of the cell, `forces_eV_per_A` (N x 3), `stress_eV_per_A3` (6, ASE's sign
    and Voigt order xx, yy, zz, yz, xz, xy).
    """

    energy_eV: float
    forces_eV_per_A: Floats
    stress_eV_per_A3: Floats


def evaluate(atoms: Atoms, calculator: Calculator, *, stress: bool = True) -> Evaluation:
    """Return energy, forces and (zeros if not wanted) stress of `atoms`, which stays as it is.

    Raises PotentialError where the calculator raises, or gives something not finite or of
    the wrong shape.
    """
    probe = attach(atoms, calculator)
    name = probe.get_chemical_formula()
    try:
        energy = np.asarray(probe.get_potential_energy(), dtype=float)
        forces = np.asarray(probe.get_forces(), dtype=float)
        voigt = np.asarray(probe.get_stress(), dtype=float) if stress else np.zeros(6)
    except Exception as error:
        raise PotentialError(f"the potential failed on {name}: {one_line(error)}") from error
    shapes = (("energy", energy, ()), ("forces", forces, (len(atoms), 3)), ("stress", voigt, (6,)))
    for what, values, shape in shapes:
        if values.shape != shape:
            raise PotentialError(f"{what} of {name} has shape {values.shape}, expected {shape}")
        if not np.all(np.isfinite(values)):
            raise PotentialError(f"{what} of {name} is not finite (NaN or infinite)")
    return Evaluation(float(energy), forces, voigt)


def attach(atoms: Atoms, calculator: Calculator) -> Atoms:
    """Return a copy of `atoms` with `calculator`, without constraints, momenta or spins."""
    probe = Atoms(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        masses=atoms.get_masses(),
    )
    probe.calc = calculator
    return probe


def crystal_of(structure: Atoms) -> Atoms:
    """Return a clean copy of a crystal: no calculator, constraints, momenta or spins.

    Raises ValueError if it is empty, not periodic in all three directions or holds
    something not finite.
    """
    if len(structure) == 0:
        raise ValueError("the structure to validate on has no atoms")
    if not structure.pbc.all() or structure.cell.rank < 3:
        raise ValueError(
            f"{structure.get_chemical_formula()} is not periodic in all three directions: validate "
            "on a crystal's unit cell (a cell of rank 3, pbc=True)"
        )
    if not (np.isfinite(structure.positions).all() and np.isfinite(structure.cell.array).all()):
        raise ValueError(f"{structure.get_chemical_formula()} has positions that are not finite")
    clean = attach(structure, None)
    clean.calc = None
    return clean


def one_line(error: BaseException) -> str:
    """Return an exception as one short line."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}"[:300] if text else kind
