"""D-optimal selection: the structures whose environments span most that is new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet, BBasisConfiguration

from pyacemaker.selection.base import Selection
from pyacemaker.selection.environments import DUPLICATE_TOLERANCE, ByEnvironments, Environments
from pyacemaker.trainer.active_set import active_set_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.settings import TrainerSettings

Array = NDArray[np.float64]


class MaxVolSelector(ByEnvironments):
    """Chooses by MaxVol over the environments of the pool and the current set together.

    Needs only basis functions, no coefficients, so it works before the first fit.

    Round one: each element's active set of current and pool together is made. A pool
    structure with environments in it is worth the sum of ln(gamma) of these, gamma taken
    against the current set: to first order the logarithm of the factor by which it enlarges
    the volume. The best come first. Later rounds, where the pool holds no more such
    structures and `count` is not reached: the rest, by their gamma against everything known
    and chosen, largest first; these interpolate (gamma about 1 and less), so a caller who
    wants only news sets `minimum_gamma`.

    Deterministic: ties go to the earlier structure of the pool, and `rng` is not used.

    Parameters
    ----------
    basis
        The basis to see structures by.
    duplicate_tolerance
        See `selection.environments.Seen`.
    minimum_gamma
        Structures whose grade is not above it are not chosen.
    least_gain
        The batch ends at the structure whose gain in the logarithm of the determinant is
        below this share of the best one's; 0: it goes on with those that gain nothing.
    """

    def __init__(
        self,
        basis: ACEBBasisSet | BBasisConfiguration,
        duplicate_tolerance: float = DUPLICATE_TOLERANCE,
        minimum_gamma: float = 0.0,
        least_gain: float = 0.0,
    ) -> None:
        super().__init__(basis, duplicate_tolerance)
        self.minimum_gamma = minimum_gamma
        self.least_gain = least_gain

    @classmethod
    def for_elements(
        cls,
        elements: Sequence[str],
        settings: TrainerSettings | None = None,
        least_gain: float = 0.0,
    ) -> MaxVolSelector:
        """See structures by the basis a linear fit for these elements would have."""
        basis = basis_configuration(elements, settings or TrainerSettings())
        return cls(basis, least_gain=least_gain)

    def select(
        self,
        pool: Sequence[Atoms],
        current: Sequence[Atoms],
        count: int,
        rng: np.random.Generator,
    ) -> Selection:
        """Choose; see the class and `selection.base.Selector`.

        The gamma given with a structure of round one is against `current`; with a later one
        against `current` and those chosen in round one.
        """
        del rng
        if count <= 0 or not pool:
            return Selection((), ())
        environments, seen = self._look(pool, current)
        offset, total = len(current), len(current) + len(pool)
        known = list(range(offset))
        gamma, of_row = self._grades(environments, known, total)
        worth = self._worth(environments, of_row, offset, total)
        chosen: list[int] = []
        grades: list[float] = []

        def take(candidates: Sequence[int], against: Array) -> None:
            for index in candidates:
                if len(chosen) == count:
                    return
                if against[index] > self.minimum_gamma and not seen.knows(index):
                    seen.add(index)
                    chosen.append(int(index))
                    grades.append(float(against[index]))

        least = self.least_gain * float(worth.max())
        candidates = [n for n in range(offset, total) if worth[n] > 0.0 and worth[n] >= least]
        take(sorted(candidates, key=lambda n: (-worth[n], -gamma[n], n)), gamma)
        if len(chosen) < count and self.least_gain == 0.0:
            rest, _ = self._grades(environments, known + chosen, total)
            left = [n for n in range(offset, total) if n not in set(chosen)]
            take(sorted(left, key=lambda n: (-rest[n], n)), rest)
        return Selection(tuple(n - offset for n in chosen), tuple(grades))

    def _worth(
        self,
        environments: dict[str, Environments],
        of_row: dict[str, Array],
        offset: int,
        total: int,
    ) -> Array:
        worth = np.zeros(total)
        for element, found in environments.items():
            active = active_set_of(found.rows, self._orders[element])
            rows = active.rows[active.rows >= 0]
            rows = rows[found.owner[rows] >= offset]
            # An environment in the joint active set counts even where alone it is no news.
            news = np.log(np.maximum(of_row[element][rows], 1.0)) + 1e-6
            np.add.at(worth, found.owner[rows], news)
        return worth


class RandomSelector(ByEnvironments):
    """Chooses at random, duplicates aside: the yardstick for every other selector."""

    @classmethod
    def for_elements(
        cls, elements: Sequence[str], settings: TrainerSettings | None = None
    ) -> RandomSelector:
        """See duplicates by the basis a linear fit for these elements would have."""
        return cls(basis_configuration(elements, settings or TrainerSettings()))

    def select(
        self,
        pool: Sequence[Atoms],
        current: Sequence[Atoms],
        count: int,
        rng: np.random.Generator,
    ) -> Selection:
        """Choose at most `count`, drawn from `rng`; gamma is against `current`."""
        if count <= 0 or not pool:
            return Selection((), ())
        order = (int(index) for index in rng.permutation(len(pool)))
        return self._first(pool, current, order, count)
