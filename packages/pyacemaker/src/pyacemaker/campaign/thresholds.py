"""gamma_select and gamma_halt from what gamma has been worth so far.

gamma says how far a potential extrapolates, not how wrong it is. Labels a potential was not
fitted to tell both: each of their atoms has a gamma and a force error. A monotone curve through
them (isotonic regression of the squared error, the least assumption there is: more
extrapolation, no smaller error) is read at two errors:

    gamma_select   where the error of a force component reaches the goal of the test gate
    gamma_halt     where it reaches HALT_ERROR times the goal: no longer the material's dynamics

Floors: 1.2 and 2 (below 1 a linear fit interpolates). A threshold the curve does not reach within
the gammas that were seen stays at its setting, for nothing is known beyond. With fewer than
LEAST_ATOMS held-out atoms, or none with a gamma above 1, both stay at their settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

HALT_ERROR = 3.0
LEAST_ATOMS = 60
LEAST_SELECT, LEAST_HALT = 1.2, 2.0
# Neighbours on the gamma axis are averaged, so that one lucky atom sets no threshold.
_BIN = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """Two extrapolation grades, and the rule that gave them in words."""

    select: float
    halt: float
    why: str


def held_out_pairs(structures: Sequence[Atoms], calculator: Calculator) -> Array:
    """Return (atoms x 2): gamma, and the RMS error of the three force components (eV/angstrom).

    `structures` carry labels that the potential behind `calculator` was not fitted to; its
    results must hold `gamma`.
    """
    rows = [np.zeros((0, 2))]
    for labelled in structures:
        atoms = labelled.copy()
        atoms.calc = calculator
        error = atoms.get_forces() - labelled.get_forces(apply_constraint=False)
        size = np.sqrt((error**2).mean(axis=1))
        rows.append(np.column_stack([np.array(calculator.results["gamma"]), size]))
    return np.vstack(rows)


def calibrated(pairs: Array, goal_eV_per_A: float, select: float, halt: float) -> Thresholds:
    """Return the thresholds for `pairs` (of `held_out_pairs`); `select` and `halt` fall back."""
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    above = int((pairs[:, 0] > 1).sum()) if len(pairs) else 0
    if len(pairs) < LEAST_ATOMS or above < _BIN:
        return Thresholds(
            select,
            halt,
            f"{len(pairs)} held-out atoms, {above} of them beyond gamma 1, are too few "
            f"({LEAST_ATOMS} and {_BIN} wanted): the settings stay",
        )
    gamma, error = curve(pairs)
    found_select = _reached(gamma, error, goal_eV_per_A)
    found_halt = _reached(gamma, error, HALT_ERROR * goal_eV_per_A)
    seen = float(gamma.max())
    words = []
    for name, value, wanted, fallback in (
        ("gamma_select", found_select, goal_eV_per_A, select),
        ("gamma_halt", found_halt, HALT_ERROR * goal_eV_per_A, halt),
    ):
        words.append(
            f"{name}: {wanted:.3g} eV/angstrom is reached at {value:.2f}"
            if value is not None
            else f"{name}: {wanted:.3g} eV/angstrom is not reached up to gamma {seen:.1f}, "
            f"{fallback:g} stays"
        )
    new_halt = max(LEAST_HALT, halt if found_halt is None else found_halt)
    new_select = max(LEAST_SELECT, select if found_select is None else found_select)
    new_select = min(new_select, 0.9 * new_halt)
    return Thresholds(
        round(new_select, 3),
        round(new_halt, 3),
        f"force error against gamma of {len(pairs)} held-out atoms; {'; '.join(words)}",
    )


def curve(pairs: Array) -> tuple[Array, Array]:
    """Return gamma and the monotone RMS error (eV/angstrom), one point for each ten atoms."""
    from scipy.optimize import isotonic_regression

    ordered = pairs[np.argsort(pairs[:, 0], kind="stable")]
    bins = np.array_split(ordered, max(1, len(ordered) // _BIN))
    gamma = np.array([part[:, 0].mean() for part in bins])
    squared = np.array([(part[:, 1] ** 2).mean() for part in bins])
    fitted = isotonic_regression(squared, weights=[len(part) for part in bins])
    return gamma, np.sqrt(fitted.x)


def _reached(gamma: Array, error: Array, level: float) -> float | None:
    """Return the gamma at which the curve reaches `level`, between its points linear."""
    beyond = np.flatnonzero(error >= level)
    if len(beyond) == 0:
        return None
    first = int(beyond[0])
    if first == 0 or error[first] == error[first - 1]:
        return float(gamma[first])
    part = (level - error[first - 1]) / (error[first] - error[first - 1])
    return float(gamma[first - 1] + part * (gamma[first] - gamma[first - 1]))
