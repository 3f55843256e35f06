"""A ridge regression with given weights and prior, solved without squaring its condition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lstsq, qr

Array = NDArray[np.float64]


def solve_ridge(rows: Array, right: Array, scale: Array, ridge: float) -> Array:
    """Return the c (F) that minimises |rows c - right|^2 + ridge n |c / scale|^2, n rows.

    By QR, then the ridge's rows: the normal equations would lose half of the digits. Columns
    whose `scale` (F) is zero get the coefficient zero.
    """
    some = np.flatnonzero(scale)
    size = len(some)
    scaled = np.empty((len(rows), size + 1), order="F")
    np.multiply(rows[:, some], scale[some], out=scaled[:, :size])
    scaled[:, size] = right
    triangle = qr(scaled, mode="r", overwrite_a=True, check_finite=False)[0][: size + 1]
    penalty = np.sqrt(max(ridge, 1e-14) * len(rows)) * np.eye(size)
    system = np.vstack([triangle[:, :size], penalty])
    target = np.concatenate([triangle[:, size], np.zeros(size)])
    solution = np.zeros(len(scale))
    solution[some] = (
        scale[some]
        * lstsq(system, target, lapack_driver="gelsy", check_finite=False, overwrite_a=True)[0]
    )
    return solution
