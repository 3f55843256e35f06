"""How fast a graft is faded in: alpha as a function of progress, both from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

ScheduleName = Literal["linear", "cosine", "sigmoid"]

_STEEPNESS = 12.0  # of the sigmoid: 0.25 % at the ends before it is scaled to meet 0 and 1


def linear(progress: float) -> float:
    """Return `progress` itself."""
    return progress


def cosine(progress: float) -> float:
    """Return (1 - cos(pi p)) / 2: level at both ends."""
    return 0.5 - 0.5 * math.cos(math.pi * progress)


def sigmoid(progress: float) -> float:
    """Return a logistic curve scaled so that it meets 0 and 1 exactly."""
    low = _logistic(-_STEEPNESS / 2)
    return (_logistic(_STEEPNESS * (progress - 0.5)) - low) / (1 - 2 * low)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": linear,
    "cosine": cosine,
    "sigmoid": sigmoid,
}


def alpha_at(schedule: ScheduleName, step: int, steps: int) -> float:
    """Return alpha after `step` of `steps` training steps; 1 from `steps` on.

    Raises ValueError for a schedule that does not exist.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"no schedule {schedule!r}; choose one of {', '.join(SCHEDULES)}")
    if step >= steps:
        return 1.0
    return min(max(SCHEDULES[schedule](max(step, 0) / steps), 0.0), 1.0)


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
