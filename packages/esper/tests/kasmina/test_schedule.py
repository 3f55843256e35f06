"""Alpha schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest

from esper.kasmina.schedule import SCHEDULES, alpha_at


@pytest.mark.parametrize("name", SCHEDULES)
def test_alpha_goes_from_zero_to_one_and_never_back(name: str) -> None:
    values = [alpha_at(name, step, 40) for step in range(45)]  # type: ignore[arg-type]
    assert values[0] == pytest.approx(0.0, abs=1e-12)
    assert values[40:] == [1.0] * 5
    assert all(b >= a for a, b in pairwise(values))
    assert values[20] == pytest.approx(0.5)
    # symmetric: what is gained early is gained late
    assert values[10] == pytest.approx(1 - values[30])


def test_no_steps_means_at_once() -> None:
    assert alpha_at("linear", 0, 0) == 1.0


def test_an_unknown_schedule_is_named_with_the_known() -> None:
    with pytest.raises(ValueError, match="linear, cosine, sigmoid"):
        alpha_at("square", 1, 2)  # type: ignore[arg-type]
