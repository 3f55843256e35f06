"""A contextual bandit over (site, blueprint): linear rewards, two ways to explore.

LinUCB: Li, Chu, Langford, Schapire, arXiv:1003.0146, algorithm 1 with one shared model.
Thompson sampling: Agrawal and Goyal, arXiv:1209.3352.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from esper.tamiyo.decisions import FEATURES, Array, Decision

Kind = Literal["linucb", "thompson"]


class Bandit:
    """Ridge regression of the reward on a candidate's features, and its uncertainty.

    `precision` (d, d) is A = I + sum x x', `moment` (d,) is b = sum r x. `exploration` is alpha
    of LinUCB, or v of Thompson sampling, in the reward's units (nats).
    """

    def __init__(
        self,
        kind: Kind = "linucb",
        exploration: float = 0.1,
        precision: Array | None = None,
        moment: Array | None = None,
    ) -> None:
        size = len(FEATURES)
        self.kind: Kind = kind
        self.exploration = exploration
        self.precision = np.eye(size) if precision is None else precision
        self.moment = np.zeros(size) if moment is None else moment

    def update(self, features: Sequence[float] | Array, reward: float) -> None:
        """Learn that a candidate with these features earned this reward."""
        x = np.asarray(features, dtype=np.float64)
        self.precision += np.outer(x, x)
        self.moment += reward * x

    def fit(self, episodes: Iterable[Iterable[Decision]]) -> Bandit:
        """Learn from recorded episodes; returns itself."""
        for episode in episodes:
            for decision in episode:
                if decision.reward is not None:
                    self.update(decision.candidates[decision.chosen].features, decision.reward)
        return self

    def choose(self, decision: Decision, rng: np.random.Generator) -> tuple[int, float | None]:
        """Return the candidate to take, and the probability where it is known (LinUCB: None)."""
        rows = decision.matrix()
        theta = np.linalg.solve(self.precision, self.moment)
        if self.kind == "thompson":
            factor = np.linalg.cholesky(self.precision)
            noise = np.linalg.solve(factor.T, rng.standard_normal(len(theta)))
            return int(np.argmax(rows @ (theta + self.exploration * noise))), None
        spread = np.sqrt(np.sum(rows * np.linalg.solve(self.precision, rows.T).T, axis=1))
        return int(np.argmax(rows @ theta + self.exploration * spread)), None
