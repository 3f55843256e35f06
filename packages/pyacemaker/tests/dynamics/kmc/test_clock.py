"""The residence-time algorithm against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyacemaker.dynamics.kmc.clock import next_event
from pyacemaker.dynamics.kmc.prefactor import rate


def test_two_states_share_the_time_as_their_rates_say() -> None:
    out_of = ([3.0], [1.0])  # 1/s
    rng = np.random.default_rng(0)
    spent = [[], []]
    state = 0
    for _ in range(20_000):
        _, waited = next_event(out_of[state], rng)
        spent[state].append(waited)
        state = 1 - state
    for found, (rate_per_s,) in zip(spent, out_of, strict=True):
        times = np.array(found)
        error = 1 / rate_per_s / math.sqrt(len(times))
        assert times.mean() == pytest.approx(1 / rate_per_s, abs=4 * error)
        assert times.std() == pytest.approx(1 / rate_per_s, rel=0.05)  # exponential
    share = sum(spent[1]) / (sum(spent[0]) + sum(spent[1]))
    assert share == pytest.approx(3 / 4, abs=0.01)


def test_ways_are_taken_in_proportion_to_their_rates() -> None:
    rng = np.random.default_rng(1)
    rates = [1.0, 0.0, 5.0, 4.0]
    draws = [next_event(rates, rng) for _ in range(20_000)]
    share = np.bincount([chosen for chosen, _ in draws], minlength=4) / len(draws)
    assert share == pytest.approx(np.array(rates) / 10, abs=0.015)
    assert share[1] == 0
    assert np.mean([waited for _, waited in draws]) == pytest.approx(0.1, rel=0.03)


def test_no_way_out_is_refused() -> None:
    for rates in ([], [0.0], [math.inf], [math.nan]):
        with pytest.raises(ValueError, match="no way out"):
            next_event(rates, np.random.default_rng(0))


def test_the_rate_is_arrhenius() -> None:
    # 0.5 eV at 500 K: exp(-0.5 / 0.0430867) = 9.12e-6
    assert rate(0.5, 10.0, 500.0) == pytest.approx(1e13 * math.exp(-0.5 / 0.04308666), rel=1e-5)
    assert rate(0.0, 2.0, 300.0) == 2e12
