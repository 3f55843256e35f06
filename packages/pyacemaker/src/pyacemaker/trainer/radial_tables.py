"""The radial functions of a basis, tabulated for many distances at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet

Array = NDArray[np.float64]

_STEP_A = 1e-3  # as fine as the splines pyace itself evaluates
_FIRST = 2  # steps: pyace refuses the first bin of its splines


class RadialTables:
    """g_k and R_nl of every pair of elements: cubic Hermite interpolation of pyace's values.

    One row holds all g_k (of single-neighbour terms), then R_nl by n and l.
    """

    def __init__(self, basis: ACEBBasisSet) -> None:
        radial = basis.radial_functions
        self._tables: dict[tuple[int, int], tuple[float, Array, Array]] = {}
        self._split, self._nmax = int(radial.nradbase), int(radial.nradial)
        self._degrees = int(radial.lmax) + 1
        self._width = self._split + self._nmax * self._degrees
        for mu in range(int(basis.nelements)):
            for nu in range(int(basis.nelements)):
                cut = float(np.asarray(radial.cut)[mu][nu])
                grid = np.arange(_FIRST, int(np.ceil(cut / _STEP_A)) + 2) * _STEP_A
                radial.evaluate_range(np.minimum(grid, cut), self._split, self._nmax, mu, nu)
                names = ["gr", "fr"] if self._nmax else ["gr"]
                value, slope = (
                    np.hstack(
                        [
                            np.asarray(getattr(radial, f"{d}{name}_vec"), dtype=float).reshape(
                                len(grid), -1
                            )
                            for name in names
                        ]
                    )
                    for d in ("", "d")
                )
                value[grid >= cut], slope[grid >= cut] = 0.0, 0.0
                self._tables[mu, nu] = cut, value, slope

    def place(self, n: int, degree: int, single: bool) -> int:
        """Return the place in a row of g_n (`single`) or R_nl; n counts from 1."""
        return n - 1 if single else self._split + (n - 1) * self._degrees + degree

    def at(self, mu: NDArray[np.intp], nu: NDArray[np.intp], r: Array) -> tuple[Array, Array]:
        """Return the rows for pairs of elements at distances r, and their derivatives."""
        y, dy = np.zeros((2, len(r), self._width))
        for (centre, neighbour), (cut, value, slope) in self._tables.items():
            which = np.flatnonzero((mu == centre) & (nu == neighbour) & (r < cut))
            if len(which) == 0:
                continue
            along = r[which] / _STEP_A - _FIRST
            place = np.clip(along.astype(int), 0, len(value) - 2)
            t = (along - place)[:, None]
            v0, v1 = value[place], value[place + 1]
            s0, s1 = slope[place] * _STEP_A, slope[place + 1] * _STEP_A
            a, b = 2 * (v0 - v1) + s0 + s1, 3 * (v1 - v0) - 2 * s0 - s1
            y[which] = ((a * t + b) * t + s0) * t + v0
            dy[which] = ((3 * a * t + 2 * b) * t + s0) / _STEP_A
        return y, dy
