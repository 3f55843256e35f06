"""The controller: when it wants to grow, and what a branch is worth."""

from __future__ import annotations

import pytest

from esper.config import GrowthConfig
from esper.tamiyo.heuristic import is_plateau, reward, wants_to_grow


def test_a_plateau_is_a_mean_that_hardly_falls() -> None:
    assert not is_plateau([1.0, 1.0, 1.0], 2, 0.05)  # too few
    assert is_plateau([1.0, 1.0, 0.99, 0.98], 2, 0.05)
    assert not is_plateau([1.0, 0.9, 0.8, 0.7], 2, 0.05)
    assert is_plateau([1.0, 1.0, 1.2, 1.3], 2, 0.05)  # rising is no progress
    assert is_plateau([1.0, 0.9, 0.8, 0.8, 0.8, 0.8], 2, 0.05)


def test_when_it_wants_to_grow() -> None:
    flat = [1.0] * 10
    assert not wants_to_grow(GrowthConfig(), 3, flat)
    by_epoch = GrowthConfig(kind="seeds", trigger="epochs", at_epochs=(3,))
    assert wants_to_grow(by_epoch, 3, [])
    assert not wants_to_grow(by_epoch, 4, flat)
    by_plateau = GrowthConfig(kind="seeds")
    assert wants_to_grow(by_plateau, 4, flat)
    assert not wants_to_grow(by_plateau, 4, [0.8**i for i in range(10)])


def test_reward_is_contribution_minus_rent() -> None:
    assert reward(0.5, 0.3, 100, 1000, 0.01) == pytest.approx(0.2 - 0.001)
    assert reward(0.5, 0.5, 100, 1000, 0.01) < 0
    assert reward(0.5, 0.6, 0, 1000, 0.0) == pytest.approx(-0.1)
