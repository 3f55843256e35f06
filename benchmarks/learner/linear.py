"""The product's linear fit on structures of which no isolated atom is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet

from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.design import Rows
from pyacemaker.trainer.equations import equations_of, functions_of
from pyacemaker.trainer.regression import Choice, Fitted, Regression
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import targets_of

Array = NDArray[np.float64]
FOLDS = 5


@dataclass(frozen=True)
class Errors:
    """Energy errors (eV/atom, one for each structure) and force errors (components)."""

    energies: Array
    forces: Array


def rows_of(
    structures: Sequence[Atoms], element: str, settings: TrainerSettings, workers: int
) -> tuple[ACEBBasisSet, list[Rows]]:
    """Return the basis and the rows of the design matrix."""
    projector, rows = RowCache(workers).rows([element], settings, structures)
    return projector.basis, rows


def regression_of(
    structures: Sequence[Atoms],
    basis: ACEBBasisSet,
    rows: Sequence[Rows],
    element: str,
    settings: TrainerSettings,
) -> Regression:
    """Return the equations; the element's own energy is fitted with the rest.

    Left-out structures are judged by the errors that are published, eV/atom and eV/angstrom,
    without the weights that soften high energies and forces in the fit.
    """
    baseline = baseline_of(settings.baseline, [element])
    targets = targets_of(structures, {element: 0.0}, baseline, settings)
    equations = [
        replace(
            equation,
            energy_unit=target.weight,
            rest_unit=settings.force_weight * target.weight * np.repeat(target.force_weights, 3),
        )
        for equation, target in zip(
            equations_of(structures, rows, targets, [element], settings), targets, strict=True
        )
    ]
    return Regression(equations, functions_of(basis), folds(structures), free_offsets=True)


def folds(structures: Sequence[Atoms]) -> list[str]:
    """Deal the members of each family in turn, so that each fold holds every kind."""
    met: dict[str, int] = {}
    names = []
    for atoms in structures:
        family = str(atoms.info["group"])
        names.append(f"fold {met.get(family, 0) % FOLDS}")
        met[family] = met.get(family, 0) + 1
    return names


def choose(regression: Regression, settings: TrainerSettings) -> Choice:
    """Return what the settings make of it."""
    return regression.choose(
        settings.choose_by, settings.energy_weight, settings.smoothness, settings.ridge
    )


def errors_of(
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    fitted: Fitted,
    element: str,
    settings: TrainerSettings,
) -> Errors:
    """Return the errors of a fit against the labels."""
    baseline = baseline_of(settings.baseline, [element])
    targets = targets_of(structures, {element: 0.0}, baseline, settings)
    energies, forces = [], []
    for atoms, row, target in zip(structures, rows, targets, strict=True):
        found = float(row.energy @ fitted.coefficients) - target.energy
        energies.append(found / len(atoms) + float(fitted.offsets[0]))
        forces.append((row.forces @ fitted.coefficients - target.forces).ravel())
    return Errors(np.array(energies), np.concatenate(forces))
