"""Ridge regression whose strength is chosen by cross-validation over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, lstsq, qr

from pyacemaker.trainer.base import TrainerError

Array = NDArray[np.float64]

_LADDER = np.logspace(-10, -2, 25)
_MOST_FOLDS = 5
_FEWEST_FOLDS = 3
_NEGLIGIBLE = 1e-5  # of the root mean square target


@dataclass(frozen=True)
class Solution:
    """Coefficients (F), the relative ridge used, and what chose it."""

    coefficients: Array
    ridge: float
    chosen_by: str


def solve(
    rows: Array,
    targets: Array,
    groups: Sequence[str],
    ridge: Literal["auto"] | float,
    prior: Array | None = None,
) -> Solution:
    """Minimise |rows c - targets|^2 + ridge n |c / scale|^2, with n rows.

    Each column is first divided by its root mean square (times `prior`, where a larger value
    lets a function have a larger share), so that the ridge does not depend on how a basis
    function happens to be normalised. Functions no row excites get the coefficient zero.

    Parameters
    ----------
    rows, targets
        The weighted design matrix (n x F) and right-hand side (n).
    groups
        The group of each row; a fold leaves whole groups out.
    ridge
        A number, or "auto": the ladder 1e-10 ... 1e-2 by cross-validation that leaves whole
        groups out; of the ridges whose mean square error (geometric mean over groups) is
        within one part in a hundred of the least, the strongest.
    prior
        Relative expected size of each function's contribution (F); equal by default.

    Raises
    ------
    TrainerError
        If there is nothing to fit, or the solution is not finite.
    """
    count, size = rows.shape
    if count == 0 or not np.any(rows):
        raise TrainerError(
            "nothing to fit: no atom of the training set has a neighbour within the cutoff"
        )
    rms = np.sqrt(np.mean(rows**2, axis=0))
    scale = np.where(rms > 0.0, 1.0 / np.where(rms > 0.0, rms, 1.0), 0.0)
    if prior is not None:
        scale = scale * prior
    scaled = rows * scale
    chosen_by = "the settings"
    if ridge == "auto":
        ridge, chosen_by = _by_cross_validation(scaled, targets, groups)
    # By QR, then the ridge's rows: the normal equations would lose half of the digits.
    triangle = qr(np.column_stack([scaled, targets]), mode="r", check_finite=False)[0][: size + 1]
    system = np.vstack([triangle[:, :size], np.sqrt(max(ridge, 1e-14) * count) * np.eye(size)])
    right = np.concatenate([triangle[:, size], np.zeros(size)])
    solution = lstsq(system, right, lapack_driver="gelsy", check_finite=False)[0]
    coefficients = solution * scale
    if not np.isfinite(coefficients).all():
        raise TrainerError("the least-squares solution is not finite: look for a broken label")
    return Solution(coefficients, float(ridge), chosen_by)


def _by_cross_validation(rows: Array, targets: Array, groups: Sequence[str]) -> tuple[float, str]:
    folds = _folds(groups)
    if len(folds) < _FEWEST_FOLDS:
        # One or two families say nothing about a third: stay near the data.
        return 1e-7, "too few groups for cross-validation"
    parts = [(rows[f].T @ rows[f], rows[f].T @ targets[f]) for f in folds]
    gram = sum((p[0] for p in parts), np.zeros((rows.shape[1], rows.shape[1])))
    moment = sum((p[1] for p in parts), np.zeros(rows.shape[1]))
    names, inverse, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    squares = np.zeros((len(names), len(_LADDER)))
    for fold, (left_gram, left_moment) in zip(folds, parts, strict=True):
        values, vectors = eigh(gram - left_gram, driver="evd", check_finite=False)
        values = np.maximum(values, 0.0)
        kept = len(rows) - len(fold)
        projected = vectors.T @ (moment - left_moment)
        trial = vectors @ (projected[:, None] / (values[:, None] + _LADDER * kept))  # F x ladder
        wrong = rows[fold] @ trial - targets[fold][:, None]
        np.add.at(squares, inverse[fold], wrong**2)
    floor = _NEGLIGIBLE**2 * float(np.mean(targets**2))
    # The geometric mean over groups: each group speaks for how much better or worse it gets,
    # so that the only dimer scan, which nothing else can predict, does not decide alone.
    score = sizes @ np.log(squares / sizes[:, None] + floor) / len(rows)
    good = np.flatnonzero(score <= score.min() + np.log(1.01))
    return float(_LADDER[good.max()]), f"{len(folds)}-fold cross-validation over groups"


def _folds(groups: Sequence[str]) -> list[NDArray[np.intp]]:
    """Deal whole groups, largest first, to the fold that has fewest rows."""
    names, inverse, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    number = min(_MOST_FOLDS, len(names))
    fold_of = np.zeros(len(names), dtype=int)
    load = np.zeros(number)
    for name in sorted(range(len(names)), key=lambda n: (-int(sizes[n]), str(names[n]))):
        fold_of[name] = int(np.argmin(load))
        load[fold_of[name]] += sizes[name]
    return [np.flatnonzero(fold_of[inverse] == n) for n in range(number)]
