"""Whether more capacity would help, or more labels: growth is for the first alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["capacity", "data", "unfinished", "enough"]

PLATEAU = 0.03  # relative improvement over the last third of the epochs that is none
GAP = 1.5  # validation error over training error beyond which labels are missing
ABOVE_NOISE = 1.5  # times the labels' own noise


@dataclass(frozen=True)
class Diagnosis:
    """What limits a potential, and why.

    `capacity`: it may grow. `data`: it needs labels. `unfinished`: training has not ended yet.
    `enough`: nothing limits it.
    """

    kind: Kind
    reason: str


def diagnose(
    train: Sequence[float],
    validation: Sequence[float],
    label_noise: float,
    complaints: Sequence[str],
) -> Diagnosis:
    """Say what limits a potential.

    Parameters
    ----------
    train, validation
        Force errors (RMSE, eV/angstrom) after each epoch of its training.
    label_noise
        The labels' own error (eV/angstrom).
    complaints
        What is wrong in regions that have been sampled: where gamma still halts, or which gate
        still fails, although labels were added for it before. One phrase each.
    """
    if not validation:
        return Diagnosis("data", "there is no validation set to tell capacity from data")
    on_train, on_validation = min(train), min(validation)
    errors = f"force errors {1e3 * on_train:.3g} and {1e3 * on_validation:.3g} meV/angstrom"
    if on_train <= ABOVE_NOISE * label_noise:
        return Diagnosis(
            "enough" if on_validation <= GAP * max(on_train, label_noise) else "data",
            f"{errors}: training is at the labels' noise ({1e3 * label_noise:.3g})",
        )
    if on_validation > GAP * on_train:
        return Diagnosis("data", f"{errors}: validation is {on_validation / on_train:.2g} times it")
    moving = [
        name
        for name, curve in (("training", train), ("validation", validation))
        if improvement(curve) > PLATEAU
    ]
    if moving:
        return Diagnosis(
            "unfinished", f"{errors}: the {' and '.join(moving)} error still falls with training"
        )
    if not complaints:
        return Diagnosis("enough", f"{errors}, and nothing halts in sampled regions")
    return Diagnosis(
        "capacity", f"{errors}, both on a plateau above the labels' noise; {'; '.join(complaints)}"
    )


def improvement(curve: Sequence[float]) -> float:
    """Return how much the best error fell in the last third of the epochs, relative to before."""
    if len(curve) < 3:
        return math.inf
    cut = max(1, len(curve) - math.ceil(len(curve) / 3))
    before, after = min(curve[:cut]), min(curve)
    return (before - after) / before if before > 0 else 0.0
