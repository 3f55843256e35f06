"""The governor: says when training has diverged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says why and what to change."""


def diverged(loss: float, recent: Sequence[float], factor: float, window: int) -> str | None:
    """Return why `loss` means divergence, or None.

    A loss that is not finite always does; a finite one if it is more than `factor` times the
    median of `recent`, once `window` losses are known.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if len(recent) >= window and loss > factor * (usual := median(recent[-window:])):
        return f"the loss {loss:.3g} is more than {factor:g} times the usual {usual:.3g}"
    return None
