"""Wave vectors and the supercells that hold a whole number of their waves."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
from ase.geometry.minkowski_reduction import minkowski_reduce
from numpy.typing import NDArray

from pyacemaker.validator.evaluation import Floats


def commensurate_cell(q: Floats, largest_denominator: int) -> NDArray[np.int64] | None:
    """Return the supercell (3 x 3, rows in primitive vectors) that fits the wave vector `q`.

    The lattice vectors R with q.R an integer are a lattice of their own, whose index is the
    common denominator of `q` (J. H. Lloyd-Williams and B. Monserrat, Phys. Rev. B 92,
    184301 (2015)). None where a component of `q` is no fraction with a denominator as small.
    """
    parts = [Fraction(float(x)).limit_denominator(largest_denominator) for x in q]
    if any(abs(float(part) - x) > 1e-6 for part, x in zip(parts, q, strict=True)):
        return None
    index = math.lcm(*(part.denominator for part in parts))
    for a, d in itertools.product(range(1, index + 1), repeat=2):
        if index % (a * d):
            continue
        f = index // (a * d)
        for b, c, e in itertools.product(range(d), range(f), range(f)):
            H = np.array([[a, b, c], [0, d, e], [0, 0, f]], dtype=np.int64)
            if all(
                sum(int(n) * part for n, part in zip(row, parts, strict=True)).denominator == 1
                for row in H
            ):
                return H
    return None


def compact(H: NDArray[np.int64], primitive_cell: Floats) -> NDArray[np.int64]:
    """Return the supercell `H` of the same lattice with the shortest vectors."""
    _, operation = minkowski_reduce(H @ primitive_cell)
    return np.asarray(operation @ H, dtype=np.int64)


def nearest_fraction(q: Floats, reciprocal: Floats, largest_denominator: int) -> Floats:
    """Return the wave vector m/n (n at most `largest_denominator`) nearest to `q`.

    One denominator for all components, so that a cell of n primitive cells holds it;
    `reciprocal` (rows) measures the distance. Of equals the smallest n is taken.
    """
    best, error = np.zeros(3), math.inf
    for n in range(2, largest_denominator + 1):
        near = np.rint(q * n) / n
        off = float(np.linalg.norm((near - q) @ reciprocal))
        if off < error - 1e-9:
            best, error = near, off
    return best
