"""How far an uncertainty can be believed: gamma, or a predicted spread, against true errors.

Plain functions of arrays, one entry an atom of held-out labelled structures: `gamma`
(dimensionless) and `error_eV_per_A`, the length of the force error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, spearmanr

THRESHOLDS = (1.0, 2.0, 3.0, 5.0, 10.0)
_LEVELS = (0.5, 0.6827, 0.9, 0.9545)
_ATOMS_A_BIN = 20


@dataclass(frozen=True)
class Bin:
    """Atoms of like gamma: their number, median gamma, RMS, median and 90 % force error.

    `predicted_rms_eV_per_A` is the RMS error that the predicted spread stands for; None where
    the potential predicts none.
    """

    atoms: int
    gamma: float
    error_rms_eV_per_A: float
    error_median_eV_per_A: float
    error_p90_eV_per_A: float
    predicted_rms_eV_per_A: float | None = None


@dataclass(frozen=True)
class Threshold:
    """What calling every atom above `gamma` uncertain does.

    `flagged` is the share of atoms called so, `caught` the share of those with an error
    above the limit that are among them (None where there are none), `missed` the share of
    large errors among the atoms that are trusted.
    """

    gamma: float
    flagged: float
    caught: float | None
    missed: float | None
    trusted_rms_eV_per_A: float | None


@dataclass(frozen=True)
class Coverage:
    """Share of errors within the interval that should hold `expected` of them."""

    expected: float
    found: float


@dataclass(frozen=True)
class Reliability:
    """The reliability of gamma, as plain data.

    `rank_correlation` is Spearman's between gamma and error (1: the order is perfect),
    `limit_eV_per_A` what counts as a large error, `spread` the coverage of a predicted
    spread of the forces (empty where the potential gives none) and `spread_factor` what it
    would have to be multiplied with to be right on average.
    """

    atoms: int
    rank_correlation: float | None
    limit_eV_per_A: float
    bins: tuple[Bin, ...]
    thresholds: tuple[Threshold, ...]
    spread: tuple[Coverage, ...] = ()
    spread_factor: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def reliability(
    gamma: ArrayLike,
    error_eV_per_A: ArrayLike,
    limit_eV_per_A: float,
    bins: int = 10,
    thresholds: Sequence[float] = THRESHOLDS,
    predicted_eV_per_A: ArrayLike | None = None,
) -> Reliability:
    """Compare the extrapolation grade of atoms with the true error of their forces.

    Parameters
    ----------
    gamma, error_eV_per_A
        One value an atom (same length). Values that are not finite are left out.
    limit_eV_per_A
        An error above it is large.
    bins
        Most bins, of as many atoms each (at least 20).
    predicted_eV_per_A
        The predicted standard deviation of each atom's force as a length; NaN where unknown.

    Raises
    ------
    ValueError
        Where the lengths differ.
    """
    grades = np.asarray(gamma, dtype=float).ravel()
    errors = np.asarray(error_eV_per_A, dtype=float).ravel()
    if grades.shape != errors.shape:
        raise ValueError(f"{len(grades)} values of gamma for {len(errors)} errors")
    predicted = np.full(len(grades), np.nan)
    if predicted_eV_per_A is not None:
        predicted = np.asarray(predicted_eV_per_A, dtype=float).ravel()
    if predicted.shape != grades.shape:
        raise ValueError(f"{len(predicted)} predictions for {len(grades)} values of gamma")
    sound = np.isfinite(grades) & np.isfinite(errors)
    grades, errors, predicted = grades[sound], errors[sound], predicted[sound]
    order = np.argsort(grades, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // _ATOMS_A_BIN)))
    made = tuple(
        Bin(
            len(part),
            float(np.median(grades[part])),
            float(np.sqrt(np.mean(errors[part] ** 2))),
            float(np.median(errors[part])),
            float(np.quantile(errors[part], 0.9)),
            float(np.sqrt(np.mean(predicted[part] ** 2)))
            if np.isfinite(predicted[part]).all()
            else None,
        )
        for part in parts
        if len(part)
    )
    rank = None
    if len(grades) > 2 and np.ptp(grades) > 0 and np.ptp(errors) > 0:
        rank = float(spearmanr(grades, errors).statistic)
    large = errors > limit_eV_per_A
    return Reliability(
        len(grades),
        rank,
        limit_eV_per_A,
        made,
        tuple(_threshold(t, grades, errors, large) for t in thresholds) if len(grades) else (),
    )


def spread_coverage(
    std_eV_per_A: ArrayLike, error_eV_per_A: ArrayLike
) -> tuple[tuple[Coverage, ...], float]:
    """Return how many force components lie within the intervals of their predicted spread.

    Both are components (same shape); the spread is one standard deviation of a Gaussian.
    Also returns the factor, RMS of error over spread, that would make it right on average.
    """
    std = np.maximum(np.asarray(std_eV_per_A, dtype=float).ravel(), 1e-12)
    z = np.abs(np.asarray(error_eV_per_A, dtype=float).ravel()) / std
    found = tuple(
        Coverage(level, float(np.mean(z <= norm.ppf((1 + level) / 2)))) for level in _LEVELS
    )
    return found, float(np.sqrt(np.mean(z**2)))


def _threshold(
    value: float,
    grades: np.ndarray[Any, np.dtype[np.float64]],
    errors: np.ndarray[Any, np.dtype[np.float64]],
    large: np.ndarray[Any, np.dtype[np.bool_]],
) -> Threshold:
    flagged = grades > value
    trusted = ~flagged
    return Threshold(
        value,
        float(flagged.mean()),
        float(flagged[large].mean()) if large.any() else None,
        float(large[trusted].mean()) if trusted.any() else None,
        float(np.sqrt(np.mean(errors[trusted] ** 2))) if trusted.any() else None,
    )
