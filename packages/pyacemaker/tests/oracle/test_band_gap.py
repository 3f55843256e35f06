"""The gap by its definition, on bands of a formula."""

from __future__ import annotations

import numpy as np
import pytest

from pyacemaker.oracle.band_gap import band_gap

K = np.linspace(0, np.pi, 21)


def chain(gap_eV: float, width_eV: float = 4.0) -> np.ndarray:
    """Return the two bands of a dimerised chain (k-points x 2)."""
    split = np.sqrt((gap_eV / 2) ** 2 + (width_eV / 2 * np.cos(K / 2)) ** 2)
    return np.column_stack([-split, split])


@pytest.mark.parametrize("gap_eV", [0.05, 1.3])
def test_a_filled_band_below_an_empty_one(gap_eV: float) -> None:
    levels = chain(gap_eV)
    assert band_gap([levels], [levels < 0.0]) == pytest.approx(gap_eV)
    assert band_gap([levels, levels], [levels < 0.0] * 2) == pytest.approx(gap_eV)


def test_a_band_that_crosses_and_bands_that_overlap() -> None:
    levels = chain(1.0)
    assert band_gap([levels], [levels < -1.0]) == 0.0
    # A half-metal conducts by one of its spins.
    assert band_gap([levels, levels], [levels < 0.0, levels < -1.0]) == 0.0
    # Filled and empty by count, but at other k-points the one lies above the other.
    semimetal = np.array([[-1.0, 0.2], [0.3, 1.0]])
    assert band_gap([semimetal], [np.array([[True, False]] * 2)]) == 0.0


def test_what_cannot_be_told() -> None:
    levels = chain(1.0)
    assert band_gap([levels[:1]], [levels[:1] < 0]) is None
    assert band_gap([levels[:, :1]], [levels[:, :1] < 0]) is None
    assert band_gap([], []) is None
    assert band_gap([levels * np.nan], [levels < 0]) is None
