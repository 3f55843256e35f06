"""Finds what a plot needs in a check's series, whatever its maker called it exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyacemaker.report.formatting import name_and_unit


def pick(
    series: Mapping[str, Any], *words: str, without: Sequence[str] = ()
) -> tuple[str, list[Any]] | None:
    """Return (key, values) of the first list whose key has all of `words`, none of `without`."""
    for key, values in series.items():
        low = key.lower()
        if (
            isinstance(values, list)
            and values
            and all(word in low for word in words)
            and not any(word in low for word in without)
        ):
            return key, values
    return None


def floats(values: Sequence[Any]) -> list[float | None]:
    """Return `values` as floats, None for whatever is not a number."""
    return [
        float(v) if isinstance(v, int | float) and not isinstance(v, bool) else None for v in values
    ]


def unit_of(key: str, otherwise: str) -> str:
    """Return the unit in which a key ends, or `otherwise`."""
    return name_and_unit(key)[1] or otherwise
