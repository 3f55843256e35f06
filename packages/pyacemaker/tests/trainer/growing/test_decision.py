"""What limits a potential: capacity, data, training, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pyacemaker.trainer.growing.decision import diagnose, improvement

FLAT = [0.2, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.0499]
FALLING = list(np.geomspace(0.2, 0.05, 9))
HALTS = ["gamma halted again at 900 K"]


@pytest.mark.parametrize(
    ("train", "validation", "noise", "complaints", "kind", "words"),
    [
        (FLAT, FLAT, 0.005, HALTS, "capacity", "halted again at 900 K"),
        (FLAT, FLAT, 0.005, [], "enough", "nothing halts in sampled regions"),
        (FLAT, FLAT, 0.04, HALTS, "enough", "labels' noise"),
        (FALLING, FLAT, 0.005, HALTS, "unfinished", "training error still falls"),
        (FLAT, FALLING, 0.005, HALTS, "unfinished", "validation error still falls"),
        (FLAT, [2 * x for x in FLAT], 0.005, HALTS, "data", "validation is 2 times"),
        (FLAT, [2 * x for x in FLAT], 0.04, HALTS, "data", "labels' noise"),
        (FLAT, [], 0.005, HALTS, "data", "no validation set"),
    ],
)
def test_every_case(
    train: list[float],
    validation: list[float],
    noise: float,
    complaints: list[str],
    kind: str,
    words: str,
) -> None:
    found = diagnose(train, validation, noise, complaints)
    assert found.kind == kind
    assert words in found.reason


def test_improvement_counts_the_best_alone() -> None:
    assert improvement([1.0, 0.5, 0.5, 0.9, 0.6, 0.5]) == 0.0
    assert improvement([1.0, 0.5, 0.5, 0.5, 0.5, 0.4]) == pytest.approx(0.2)
    assert improvement([1.0]) == np.inf
