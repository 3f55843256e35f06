"""A learned policy claims nothing until it beats the heuristic and chance on paired seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

RIVALS = ("gradient", "random")
MIN_SEEDS = 5


class Comparison(BaseModel):
    """Paired differences of test accuracy (policy minus rival, from 0 to 1), 95 % interval."""

    model_config = ConfigDict(frozen=True)

    rival: str
    mean: float
    half_width_95: float

    @property
    def beaten(self) -> bool:
        """Say whether the whole interval lies above zero."""
        return self.mean - self.half_width_95 > 0


class Gate(BaseModel):
    """The record of a policy's trial: every seed's accuracy in every arm, and what follows."""

    model_config = ConfigDict(frozen=True)

    accuracies: dict[str, dict[int, float]]
    comparisons: tuple[Comparison, ...]
    task: Annotated[str, Field(max_length=500)] = ""

    @property
    def passed(self) -> bool:
        """Say whether the policy beats every rival, on enough seeds."""
        enough = len(self.accuracies["policy"]) >= MIN_SEEDS
        return enough and all(c.beaten for c in self.comparisons)

    def told(self) -> str:
        """Say in one line what came out, in points of accuracy."""
        verdict = "proven" if self.passed else "NOT proven"
        parts = [
            f"{100 * c.mean:+.2f} +- {100 * c.half_width_95:.2f} against {c.rival}"
            for c in self.comparisons
        ]
        return f"{verdict} on {len(self.accuracies['policy'])} seeds: {', '.join(parts)} points"


def judge(accuracies: Mapping[str, Mapping[int, float]], task: str = "") -> Gate:
    """Compare `policy` with `gradient` and `random`, all trained on the same seeds and budget.

    Raises ValueError if the seeds are not the same, or fewer than two.
    """
    from scipy.stats import t as student

    mine = accuracies["policy"]
    found = []
    for rival in RIVALS:
        theirs = accuracies[rival]
        if theirs.keys() != mine.keys() or len(mine) < 2:
            raise ValueError(f"'policy' and '{rival}' need the same seeds, two at least")
        differences = [mine[seed] - theirs[seed] for seed in sorted(mine)]
        n = len(differences)
        half = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
        mean = statistics.mean(differences)
        found.append(Comparison(rival=rival, mean=mean, half_width_95=half))
    kept = {arm: dict(accuracies[arm]) for arm in ("policy", *RIVALS)}
    return Gate(accuracies=kept, comparisons=tuple(found), task=task)
