"""Relaxation of a crystal that notices collapse, explosion and what is not finite."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.data import covalent_radii
from ase.filters import FrechetCellFilter
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS, FIRE

from pyacemaker.validator.evaluation import PotentialError, attach, crystal_of, evaluate, one_line
from pyacemaker.validator.settings import ValidationSettings

CellFreedom = Literal["full", "shape", "fixed"]

# Two atoms nearer than this fraction of the sum of their covalent radii have collapsed
# (H2, the shortest bond there is, stands at 1.2).
_COLLAPSE = 0.5
# An optimiser has stalled when so many steps together did not better its smallest force by a
# third, and that is small enough already. A model in single precision never gets further.
_STALL_STEPS = 30
_BETTER = 0.7


@dataclass(frozen=True)
class Relaxed:
    """A relaxed crystal, without a calculator.

    `fmax_eV_per_A` is the largest force left (of the cell: virial in eV an atom),
    `volume_change` the volume over the starting volume, minus one.
    """

    atoms: Atoms
    energy_eV: float
    fmax_eV_per_A: float
    steps: int
    volume_change: float


def relax(
    structure: Atoms,
    calculator: Calculator,
    settings: ValidationSettings | None = None,
    *,
    cell: CellFreedom = "full",
    symmetric: bool = True,
) -> Relaxed:
    """Relax positions and cell; `structure` stays as it is.

    `cell` is `full`, `shape` (at constant volume) or `fixed`. With `symmetric` the space
    group of the start is kept. BFGS first, then FIRE from where it stalled, each within
    `settings.relax_max_steps`, and no longer where forces that are small enough get no smaller.
    Raises PotentialError with the reason where it collapses, explodes, does not converge or the
    potential fails; ValueError for what is no crystal.
    """
    settings = settings or ValidationSettings()
    atoms = attach(crystal_of(structure), calculator)
    evaluate(atoms, calculator, stress=cell != "fixed")
    if symmetric:
        _keep_symmetry(atoms, settings.symprec_A)
    start = atoms.get_volume()
    steps, residual = 0, math.inf
    for optimiser in (BFGS, FIRE):
        target: Any = atoms
        if cell != "fixed":
            target = FrechetCellFilter(atoms, constant_volume=cell == "shape")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FixSymmetry on large steps: we look ourselves
            taken, residual = _descend(optimiser, atoms, target, start, settings)
        steps += taken
        if residual <= settings.relax_fmax_eV_per_A:
            break
    name = atoms.get_chemical_formula()
    if not residual <= settings.relax_accept_fmax_eV_per_A:
        raise PotentialError(
            f"relaxing {name} did not converge: {residual:.3g} eV/angstrom left after {steps} "
            f"steps, {settings.relax_accept_fmax_eV_per_A:g} allowed"
        )
    energy = evaluate(atoms, calculator, stress=False).energy_eV
    change = float(atoms.get_volume() / start - 1)
    atoms.set_constraint()
    atoms.calc = None
    return Relaxed(atoms, energy, residual, steps, change)


def _descend(
    optimiser: type[BFGS] | type[FIRE],
    atoms: Atoms,
    target: Any,
    start: float,
    settings: ValidationSettings,
) -> tuple[int, float]:
    """Run one optimiser; return (steps, largest force left in eV/angstrom)."""
    name = atoms.get_chemical_formula()
    run = optimiser(target, logfile=None, maxstep=0.1)
    residual = smallest = math.inf
    since = 0
    try:
        for _ in run.irun(fmax=settings.relax_fmax_eV_per_A, steps=settings.relax_max_steps):
            forces = np.asarray(target.get_forces())
            energy = float(atoms.get_potential_energy())
            if not (np.isfinite(forces).all() and math.isfinite(energy)):
                raise PotentialError(f"relaxing {name} gave an energy or force that is not finite")
            residual = float(np.sqrt((forces**2).sum(axis=1).max()))
            _still_a_crystal(atoms, start, settings)
            since += 1
            if residual < _BETTER * smallest:
                smallest, since = residual, 0
            if since >= _STALL_STEPS and residual <= settings.relax_accept_fmax_eV_per_A:
                break
    except PotentialError:
        raise
    except Exception as error:
        raise PotentialError(
            f"relaxing {name} broke down after {run.nsteps} steps: {one_line(error)}"
        ) from error
    return int(run.nsteps), residual


def _still_a_crystal(atoms: Atoms, start: float, settings: ValidationSettings) -> None:
    name = atoms.get_chemical_formula()
    ratio = atoms.get_volume() / start
    if not ratio <= 1 + settings.max_volume_change:
        raise PotentialError(
            f"{name} explodes on relaxation: its volume grows by {100 * (ratio - 1):.0f} %, "
            f"{100 * settings.max_volume_change:.0f} % allowed"
        )
    if not ratio >= 1 / (1 + settings.max_volume_change):
        raise PotentialError(
            f"{name} collapses on relaxation: its volume shrinks to {100 * ratio:.0f} % of the "
            f"start, {100 / (1 + settings.max_volume_change):.0f} % allowed"
        )
    radii = covalent_radii[atoms.numbers]
    i, j, distance = neighbor_list("ijd", atoms, 2 * _COLLAPSE * float(radii.max()))
    close = distance < _COLLAPSE * (radii[i] + radii[j])
    if close.any():
        raise PotentialError(
            f"{name} collapses on relaxation: two atoms {distance[close].min():.2f} angstrom apart"
        )


def _keep_symmetry(atoms: Atoms, symprec: float) -> None:
    try:
        atoms.set_constraint(FixSymmetry(atoms, symprec=symprec))
    except Exception:  # spglib finds none in a degenerate cell: relax without
        atoms.set_constraint()
