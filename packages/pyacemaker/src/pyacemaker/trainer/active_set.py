"""The active set: the atomic environments that span what a potential has seen.

MaxVol picks, for each element, as many environments as there are basis functions so that
their matrix A of B-projections has the largest volume; the extrapolation grade of an
environment b is gamma = max |b A^-1| (Podryabinkin, Shapeev, Comput. Mater. Sci. 140, 171
(2017); Lysogorskiy et al., Phys. Rev. Mater. 7, 043801 (2023)).

Early in a campaign there are fewer environments than functions, or far fewer than that are
independent. Then A has no inverse, and a pseudo-inverse would give gamma = 0 to exactly what
was never seen. Here the environments compete with one artificial environment for each
function, FLOOR times as large as that function usually is. Where the data support a
direction better, MaxVol takes data; otherwise the artificial row stays, and gamma says how
many times an environment exceeds the floor in a direction without support. So A is always
invertible, gamma is at most 1 (to the tolerance) on everything the set was made from, and
large, never zero, for what it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet
from pyace.maxvol import maxvol

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.design import Projector

Array = NDArray[np.float64]

# Below a hundredth of a function's usual size a difference between environments is noise of
# the basis; see the tests for what it does to gamma of held-out structures.
FLOOR = 1e-2
TOLERANCE = 1.001
_MOST_SWAPS = 20_000


@dataclass(frozen=True)
class ActiveSet:
    """The active set of one element with F functions.

    `inverse` (F x F): gamma of projections b (n x F) is max |b inverse| along a row.
    `rows` are the places, in the projections it was made from, of the F environments; -1 for
    an artificial one. `supported` counts the real ones.
    """

    inverse: Array
    rows: NDArray[np.intp]

    @property
    def supported(self) -> int:
        """How many of its rows are real environments."""
        return int(np.count_nonzero(self.rows >= 0))

    def gamma(self, projections: Array) -> Array:
        """Return the extrapolation grade of each row of `projections` (n x F)."""
        if len(projections) == 0:
            return np.zeros(0)
        grades: Array = np.abs(projections @ self.inverse).max(axis=1)
        return grades


def scales_of(projections: Array, orders: NDArray[np.intp]) -> Array:
    """Return the usual size of each function (F): its root mean square over environments.

    A function that no environment excites gets the median of those of its own order (number
    of neighbours in the term), or of all; 1 where nothing is known.
    """
    size = len(orders)
    rms = np.sqrt(np.mean(projections**2, axis=0)) if len(projections) else np.zeros(size)
    excited = rms > 1e-12 * max(float(rms.max(initial=0.0)), 1e-300)
    scales = np.where(excited, rms, 1.0)
    for n in np.flatnonzero(~excited):
        alike = excited & (orders == orders[n])
        if alike.any() or excited.any():
            scales[n] = np.median(rms[alike if alike.any() else excited])
    return scales


def active_set_of(projections: Array, orders: NDArray[np.intp], floor: float = FLOOR) -> ActiveSet:
    """Return the active set of the environments in `projections` (n x F; n may be 0).

    `orders` (F) is the number of neighbours in each function's term (see `orders_of`).
    Raises TrainerError where a projection is not finite.
    """
    if not np.isfinite(projections).all():
        raise TrainerError("a B-projection is not finite: look for atoms on top of each other")
    scales = scales_of(projections, orders)
    size = len(orders)
    candidates = np.vstack([projections / scales, floor * np.eye(size)])
    rows, _ = maxvol(candidates, tol=TOLERANCE, max_iters=_MOST_SWAPS)
    rows = np.asarray(rows, dtype=np.intp)
    inverse = np.linalg.inv(candidates[rows]) / scales[:, None]
    return ActiveSet(inverse, np.where(rows < len(projections), rows, -1))


def orders_of(basis: ACEBBasisSet) -> dict[str, NDArray[np.intp]]:
    """Return for each element the order (number of neighbours in the term) of each function."""
    return {
        element: np.array([len(f.ns) for f in [*single, *many]], dtype=np.intp)
        for element, single, many in zip(
            basis.elements_name, basis.basis_rank1, basis.basis, strict=True
        )
    }


def active_sets(
    basis: ACEBBasisSet, projections: Mapping[str, Array], floor: float = FLOOR
) -> dict[str, ActiveSet]:
    """Return the active set of every element from its environments' projections."""
    orders = orders_of(basis)
    return {e: active_set_of(projections[e], orders[e], floor) for e in orders}


def active_sets_of_structures(
    basis: ACEBBasisSet, structures: Sequence[Atoms]
) -> dict[str, ActiveSet]:
    """Return the active sets of `structures` in `basis` (linear or Finnis-Sinclair alike)."""
    projector = Projector(basis)
    return active_sets(
        basis, stacked(projector, (projector.projections(atoms) for atoms in structures))
    )


def stacked(projector: Projector, parts: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Join the projections of many structures, element by element."""
    collected = list(parts)
    return {
        e: np.vstack([np.zeros((0, projector.counts[e])), *(p[e] for p in collected)])
        for e in projector.elements
    }
