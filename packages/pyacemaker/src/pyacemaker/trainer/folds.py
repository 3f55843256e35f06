"""Folds of cross-validation: whole groups are left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MOST_FOLDS = 5


def folds_of(groups: Sequence[str]) -> list[NDArray[np.intp]]:
    """Deal whole groups, largest first, to the fold that has fewest members (at most five)."""
    names, inverse, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    number = min(_MOST_FOLDS, len(names))
    fold_of = np.zeros(len(names), dtype=int)
    load = np.zeros(number)
    for name in sorted(range(len(names)), key=lambda n: (-int(sizes[n]), str(names[n]))):
        fold_of[name] = int(np.argmin(load))
        load[fold_of[name]] += sizes[name]
    return [np.flatnonzero(fold_of[inverse] == n) for n in range(number)]
