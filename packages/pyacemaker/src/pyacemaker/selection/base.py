"""The one interface of every way to choose which candidates are worth a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms


@dataclass(frozen=True)
class Selection:
    """Indices into the pool, most informative first, with the grade each was chosen at.

    `gamma` has the length of `indices`: the largest per-atom extrapolation grade of the
    structure against the set it was compared with (dimensionless).
    """

    indices: tuple[int, ...]
    gamma: tuple[float, ...]


class Selector(Protocol):
    """Chooses at most `count` structures of `pool` to add to `current`."""

    def select(
        self,
        pool: Sequence[Atoms],
        current: Sequence[Atoms],
        count: int,
        rng: np.random.Generator,
    ) -> Selection:
        """Return the choice. Duplicates, in the pool or of `current`, are never chosen."""
