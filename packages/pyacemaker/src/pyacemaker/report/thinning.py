"""Fewer points on the screen, without hiding what matters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pairs(
    reference: Sequence[float | None], predicted: Sequence[float | None]
) -> tuple[Array, Array]:
    """Return the finite pairs of two lists (the shorter one sets the length)."""
    length = min(len(reference), len(predicted))
    x = np.array([np.nan if v is None else v for v in reference[:length]], dtype=float)
    y = np.array([np.nan if v is None else v for v in predicted[:length]], dtype=float)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]


def errors(reference: Array, predicted: Array) -> tuple[float | None, float | None, float | None]:
    """Return (root mean square, mean absolute, largest absolute) of predicted - reference."""
    if reference.size == 0:
        return None, None, None
    difference = predicted - reference
    return (
        float(np.sqrt(np.mean(difference**2))),
        float(np.mean(np.abs(difference))),
        float(np.max(np.abs(difference))),
    )


def worst_and_even(reference: Array, predicted: Array, limit: int) -> NDArray[np.intp]:
    """Return at most `limit` indices: a quarter the largest errors, the rest spread evenly.

    The rest is spread evenly over the rank of the reference value, so that the thin ends
    of the range stay visible. Deterministic.
    """
    if reference.size <= limit:
        return np.arange(reference.size)
    by_error = np.argsort(-np.abs(predicted - reference), kind="stable")
    worst = by_error[: limit // 4]
    others = np.sort(by_error[limit // 4 :])
    ranked = others[np.argsort(reference[others], kind="stable")]
    picks = np.linspace(0, ranked.size - 1, limit - worst.size).round().astype(np.intp)
    return np.sort(np.concatenate([worst, ranked[picks]]))


def keep_peaks(values: Array, limit: int) -> NDArray[np.intp]:
    """Return at most `limit` indices of a time series: both ends and each stretch's maximum."""
    if values.size <= limit:
        return np.arange(values.size)
    edges = np.linspace(1, values.size - 1, limit - 1).round().astype(int)
    peaks = [start + int(np.argmax(values[start:stop])) for start, stop in pairwise(edges)]
    return np.unique(np.array([0, *peaks, values.size - 1], dtype=np.intp))


def evenly(amount: int, limit: int) -> list[int]:
    """Return at most `limit` of the indices 0..amount-1, the first and the last among them."""
    if amount <= limit:
        return list(range(amount))
    return sorted({round(i * (amount - 1) / (limit - 1)) for i in range(limit)})
