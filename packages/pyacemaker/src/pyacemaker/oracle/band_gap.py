"""The band gap of a converged SCF, from the eigenvalues it used anyway."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def band_gap(
    energies_eV: Sequence[ArrayLike], occupied: Sequence[NDArray[np.bool_]]
) -> float | None:
    """Return the smallest gap (eV) between occupied and empty states, 0 for a metal.

    The gap of the k-points that were computed: an upper bound of the true one, as a functional's
    is a lower bound of nature's. None where it cannot be told: no empty states were computed, or a
    single k-point, whose levels are discrete in a metal too.

    Parameters
    ----------
    energies_eV
        Eigenvalues (k-points x bands, eV) of each spin channel: one array, or two.
    occupied
        Whether each state lies below the Fermi level; of the same shapes.
    """
    levels = [np.asarray(values, dtype=float) for values in energies_eV]
    if not levels or any(values.ndim != 2 or values.size == 0 for values in levels):
        return None
    if not all(np.isfinite(values).all() for values in levels) or len(levels[0]) < 2:
        return None
    for below in occupied:
        bands = np.count_nonzero(below, axis=1)
        if np.ptp(bands) > 0:
            return 0.0  # a band crosses the Fermi level
    filled = [values[below] for values, below in zip(levels, occupied, strict=True)]
    empty = [values[~below] for values, below in zip(levels, occupied, strict=True)]
    if any(values.size == 0 for values in empty) or not any(v.size for v in filled):
        return None
    top = max(float(values.max()) for values in filled if values.size)
    bottom = min(float(values.min()) for values in empty)
    return max(0.0, bottom - top)
