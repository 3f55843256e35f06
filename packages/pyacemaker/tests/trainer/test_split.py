from __future__ import annotations

from collections import Counter

import pytest

from pyacemaker.trainer.split import side_of

NAMES = [f"md-{n}" for n in range(1000)]
FRACTIONS = (0.8, 0.1, 0.1)


def test_fractions_hold_over_many_groups():
    shares = Counter(side_of(name, FRACTIONS, 7) for name in NAMES)
    assert shares[0] / len(NAMES) == pytest.approx(0.8, abs=0.04)
    assert shares[1] / len(NAMES) == pytest.approx(0.1, abs=0.03)
    assert shares[2] / len(NAMES) == pytest.approx(0.1, abs=0.03)


def test_seed_deals_anew_and_the_same_seed_the_same():
    dealt = [[side_of(name, FRACTIONS, seed) for name in NAMES] for seed in (1, 1, 2)]
    assert dealt[0] == dealt[1] != dealt[2]


@pytest.mark.parametrize(
    ("fractions", "empty"),
    [((1.0, 0.0, 0.0), (1, 2)), ((0.0, 0.0, 1.0), (0, 1)), ((0.5, 0.5, 0.0), (2,))],
)
def test_zero_fractions_stay_empty(fractions, empty):
    assert not set(empty) & {side_of(name, fractions, 0) for name in NAMES}
