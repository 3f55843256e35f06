"""The residence-time algorithm: which way out, and after how long."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def next_event(rates_per_s: Sequence[float], rng: np.random.Generator) -> tuple[int, float]:
    """Draw the way out of a state and the time spent in it before (s).

    Way i is taken with probability rate_i / sum, after a time whose distribution is
    exponential with the mean 1 / sum (Bortz, Kalos and Lebowitz, J. Comput. Phys. 17, 10,
    1975; Gillespie, J. Comput. Phys. 22, 403, 1976).

    Raises ValueError where there is no way out.
    """
    edges = np.cumsum(np.asarray(rates_per_s, dtype=float))
    if len(edges) == 0 or not (math.isfinite(edges[-1]) and edges[-1] > 0):
        raise ValueError("there is no way out with a rate above zero")
    first, second = rng.random(2)
    chosen = int(np.searchsorted(edges, first * edges[-1], side="right"))
    waited = -math.log1p(-second) / float(edges[-1])
    return min(chosen, len(edges) - 1), waited
