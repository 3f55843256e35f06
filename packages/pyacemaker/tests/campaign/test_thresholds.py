"""gamma thresholds from gamma against the true error."""

from __future__ import annotations

import numpy as np
import pytest

from pyacemaker.campaign.thresholds import (
    HALT_ERROR,
    LEAST_HALT,
    LEAST_SELECT,
    calibrated,
    curve,
)

GOAL = 0.1


def _pairs(slope: float, highest: float, count: int = 4000) -> np.ndarray:
    """Errors that are, in the mean square, `slope` times gamma."""
    rng = np.random.default_rng(0)
    gamma = rng.uniform(0, highest, count)
    return np.column_stack([gamma, np.abs(slope * gamma * rng.normal(size=count))])


def test_thresholds_are_read_where_the_error_reaches_the_goal() -> None:
    found = calibrated(_pairs(0.02, 30.0), GOAL, select=2.0, halt=10.0)
    assert found.select == pytest.approx(GOAL / 0.02, rel=0.2)
    assert found.halt == pytest.approx(HALT_ERROR * GOAL / 0.02, rel=0.2)
    assert "4000 held-out atoms" in found.why


def test_a_potential_that_errs_more_is_halted_sooner() -> None:
    bad, good = (calibrated(_pairs(slope, 30.0), GOAL, 2.0, 10.0) for slope in (0.08, 0.02))
    assert bad.halt < good.halt
    assert bad.select < good.select


def test_floors() -> None:
    found = calibrated(_pairs(5.0, 30.0), GOAL, 2.0, 10.0)
    assert found.halt == LEAST_HALT
    assert LEAST_SELECT <= found.select < found.halt


def test_what_was_never_seen_stays_at_its_setting() -> None:
    found = calibrated(_pairs(0.001, 5.0), GOAL, 2.0, 10.0)
    assert (found.select, found.halt) == (2.0, 10.0)
    assert "not reached up to gamma 5.0" in found.why


@pytest.mark.parametrize("pairs", [np.zeros((0, 2)), _pairs(1.0, 9.0, 40), _pairs(1.0, 0.9, 500)])
def test_too_few_or_no_extrapolation_falls_back(pairs: np.ndarray) -> None:
    found = calibrated(pairs, GOAL, 2.0, 10.0)
    assert (found.select, found.halt) == (2.0, 10.0)
    assert "too few" in found.why


def test_a_broken_number_is_left_out() -> None:
    pairs = np.vstack([_pairs(0.02, 30.0), [[np.nan, 1.0], [5.0, np.inf]]])
    assert calibrated(pairs, GOAL, 2.0, 10.0).halt == pytest.approx(15.0, rel=0.2)


def test_the_curve_never_falls() -> None:
    gamma, error = curve(_pairs(0.02, 30.0))
    assert (np.diff(gamma) > 0).all()
    assert (np.diff(error) >= -1e-12).all()
