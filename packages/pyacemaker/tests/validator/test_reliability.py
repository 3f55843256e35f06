"""Reliability of gamma and of a predicted spread, on errors whose law is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pyacemaker.validator.reliability import reliability, spread_coverage


def test_a_gamma_that_tells_the_error_is_seen_to():
    rng = np.random.default_rng(0)
    gamma = rng.uniform(0.1, 10, 4000)
    error = 0.05 * gamma * np.abs(rng.normal(size=4000))
    found = reliability(gamma, error, limit_eV_per_A=0.3)
    assert found.rank_correlation > 0.6
    rms = [b.error_rms_eV_per_A for b in found.bins]
    assert rms == sorted(rms)
    assert rms == pytest.approx([0.05 * b.gamma for b in found.bins], rel=0.25)
    flagged = [t.flagged for t in found.thresholds]
    assert flagged == pytest.approx([(10 - t) / 9.9 for t in (1, 2, 3, 5, 10)], abs=0.03)
    caught = [t.caught for t in found.thresholds]
    assert caught == sorted(caught, reverse=True)
    assert caught[1] > 0.95
    assert found.thresholds[1].missed < 0.01
    assert json.loads(json.dumps(found.as_dict()))["atoms"] == 4000


def test_a_gamma_that_tells_nothing_is_seen_not_to():
    rng = np.random.default_rng(1)
    found = reliability(rng.uniform(0, 5, 4000), np.abs(rng.normal(size=4000)), 2.0)
    assert abs(found.rank_correlation) < 0.05
    assert found.thresholds[1].caught == pytest.approx(found.thresholds[1].flagged, abs=0.1)


def test_few_none_and_broken_values():
    assert reliability([], [], 0.1).bins == ()
    few = reliability([1.0, np.nan, 2.0], [0.1, 0.2, 0.05], 1.0)
    assert few.atoms == 2
    assert few.thresholds[0].caught is None
    with pytest.raises(ValueError, match="3 values of gamma for 2 errors"):
        reliability([1.0, 2.0, 3.0], [0.1, 0.2], 0.1)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_coverage_of_a_gaussian_spread(factor):
    rng = np.random.default_rng(2)
    std = rng.uniform(0.01, 0.2, 20000)
    found, scale = spread_coverage(factor * std, rng.normal(scale=std))
    assert scale == pytest.approx(1 / factor, rel=0.02)
    if factor == 1.0:
        assert [c.found for c in found] == pytest.approx([c.expected for c in found], abs=0.01)
    else:
        assert all(c.found < c.expected - 0.1 for c in found)
