"""The lower convex hull of labelled energies over composition, by linear programmes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]


def energies_above_hull(compositions: Array, energies: Array, known: ArrayLike) -> Array:
    """Return how far each energy lies above the hull of the `known` ones (eV/atom).

    Parameters
    ----------
    compositions
        Shares of each element in each structure (structures x elements), rows of sum one.
    energies
        Energy per atom of each structure (eV/atom).
    known
        Places of the structures that the hull is made of.

    A structure below the hull gets zero. A composition outside what `known` spans is held
    against the nearest composition inside (smallest sum of differences).
    """
    points, place = np.unique(np.round(compositions, 10), axis=0, return_inverse=True)
    place = place.ravel()
    lowest = np.full(len(points), np.inf)
    inside = np.asarray(known, dtype=np.intp)
    np.minimum.at(lowest, place[inside], energies[inside])
    corners = np.flatnonzero(np.isfinite(lowest))
    if len(corners) == 0:
        return np.zeros(len(energies))
    hull = np.array([_hull_at(point, points[corners], lowest[corners]) for point in points])
    return np.asarray(np.maximum(energies - hull[place], 0.0))


def _hull_at(point: Array, corners: Array, energies: Array) -> float:
    """Return the lowest energy (eV/atom) of any mixture of `corners` that makes `point`."""
    elements = len(point)
    if len(corners) == 1 or elements == 1:
        return float(energies.min())
    # Slack in both directions, at a price no energy outweighs, lets an outside point find its
    # nearest mixture.
    price = 1e3 * (1.0 + float(np.ptp(energies)))
    slack = np.eye(elements)
    found = linprog(
        np.concatenate([energies, np.full(2 * elements, price)]),
        A_eq=np.vstack(
            [
                np.hstack([corners.T, slack, -slack]),
                np.concatenate([np.ones(len(corners)), np.zeros(2 * elements)]),
            ]
        ),
        b_eq=np.append(point, 1.0),
        method="highs",
    )
    shares = found.x[: len(corners)]
    return float(shares @ energies)
