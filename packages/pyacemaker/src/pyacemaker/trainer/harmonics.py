"""Spherical harmonics of many unit vectors and their gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def harmonics(unit: Array, lmax: int) -> tuple[Complex, Complex]:
    """Return Y_lm for m >= 0 and its gradient on the sphere.

    Y_lm = P_lm(z) (x + iy)^m with Condon and Shortley's phase, orthonormal but for the factor
    sqrt(4 pi) that makes Y_00 = 1 (Dusson et al., J. Comput. Phys. 454, 110946 (2022), and
    pyace). The gradient is tangential: for a vector of length r it is divided by r.

    Parameters
    ----------
    unit
        Unit vectors (pairs x 3).
    lmax
        The highest degree. Columns are ordered (0,0), (1,0), (1,1), (2,0), ...

    Returns
    -------
    values
        (pairs x columns).
    gradient
        (pairs x 3 x columns).
    """
    x, y, z = unit.T
    width = (lmax + 1) * (lmax + 2) // 2
    legendre, slope = np.zeros((2, width, len(unit)))

    def at(degree: int, m: int) -> int:
        return degree * (degree + 1) // 2 + m

    top = 1.0
    for m in range(lmax + 1):
        if m > 0:
            top *= -np.sqrt((2 * m + 1) / (2 * m))
        legendre[at(m, m)] = top
        if m < lmax:
            factor = np.sqrt(2 * m + 3)
            legendre[at(m + 1, m)] = factor * z * legendre[at(m, m)]
            slope[at(m + 1, m)] = factor * legendre[at(m, m)]
        for degree in range(m + 2, lmax + 1):
            a = np.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
            b = np.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
            below, two = at(degree - 1, m), at(degree - 2, m)
            legendre[at(degree, m)] = a * (z * legendre[below] - b * legendre[two])
            slope[at(degree, m)] = a * (legendre[below] + z * slope[below] - b * slope[two])
    powers = [np.ones(len(unit), dtype=complex)]
    for _ in range(lmax):
        powers.append(powers[-1] * (x + 1j * y))
    values = np.empty((len(unit), width), dtype=complex)
    gradient = np.empty((len(unit), 3, width), dtype=complex)
    for degree in range(lmax + 1):
        for m in range(degree + 1):
            k = at(degree, m)
            values[:, k] = legendre[k] * powers[m]
            around = m * legendre[k] * powers[m - 1] if m else 0.0
            gradient[:, 0, k] = around
            gradient[:, 1, k] = 1j * around
            gradient[:, 2, k] = slope[k] * powers[m]
    radial = np.einsum("pa,pak->pk", unit, gradient)
    gradient -= unit[:, :, None] * radial[:, None, :]
    return values, gradient


def real_columns(unit: Array, lmax: int) -> tuple[Array, Array]:
    """Return the real parts of all Y_lm (m >= 0), then the imaginary parts, and gradients.

    Shapes (pairs x columns) and (pairs x 3 x columns); places by `harmonic_index`.
    """
    values, gradient = harmonics(unit, lmax)
    return (
        np.concatenate([values.real, values.imag], axis=-1),
        np.concatenate([gradient.real, gradient.imag], axis=-1),
    )


def harmonic_index(degree: int, m: int, lmax: int, imaginary: bool = False) -> int:
    """Return the column of Y_lm's real or imaginary part in `real_columns`."""
    half = (lmax + 1) * (lmax + 2) // 2
    return degree * (degree + 1) // 2 + m + (half if imaginary else 0)
