"""How far a potential is from the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from numpy.typing import ArrayLike

from pyacemaker.core_weight import core_weights, is_embedded


def errors_of(
    calculator: Calculator, structures: Sequence[Atoms]
) -> tuple[dict[str, float | None], float | None]:
    """Compare `calculator` with the labels the structures carry.

    Returns
    -------
    errors
        `energy_rmse`, `energy_mae` (eV/atom), `force_rmse`, `force_mae` (eV/angstrom, over
        components), `stress_rmse` (GPa, over components); None where there is nothing to
        compare. `structures` and `atoms` count them.
    gamma
        The largest extrapolation grade met; None where the calculator gives none.
    """
    energies, forces, stresses, gammas = [], [], [], []
    for labelled in structures:
        label = labelled.calc.results
        atoms = labelled.copy()
        atoms.calc = calculator
        energy = atoms.get_potential_energy()
        core = core_weights(labelled) > 0
        embedded = is_embedded(labelled)  # its energy and stress are not the material's
        if not embedded:
            energies.append((energy - label["energy"]) / len(atoms))
        forces.append((atoms.get_forces() - label["forces"])[core].ravel())
        stress = None if embedded else label.get("stress")
        if stress is not None and atoms.cell.rank == 3:
            stress = np.asarray(stress, dtype=float)
            voigt = stress.shape == (6,)
            stresses.append((atoms.get_stress(voigt=voigt) - stress).ravel() / GPa)
        if "gamma" in calculator.results:
            gammas.append(float(np.max(np.asarray(calculator.results["gamma"])[core], initial=0.0)))
    return {
        "energy_rmse": _rmse(energies),
        "energy_mae": _mae(energies),
        "force_rmse": _rmse(forces),
        "force_mae": _mae(forces),
        "stress_rmse": _rmse(stresses),
        "structures": len(structures),
        "atoms": sum(len(a) for a in structures),
    }, max(gammas, default=None)


def _rmse(parts: Sequence[ArrayLike]) -> float | None:
    return float(np.sqrt(np.mean(np.hstack(list(parts)) ** 2))) if parts else None


def _mae(parts: Sequence[ArrayLike]) -> float | None:
    return float(np.mean(np.abs(np.hstack(list(parts))))) if parts else None
