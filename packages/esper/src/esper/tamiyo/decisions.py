"""What a controller sees when it decides where to grow, written down for policies to learn from.

A decision is a choice among candidates, each a blueprint at a site. Its reward comes later, when
the branch is judged: the counterfactual contribution minus the rent of its parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Array = NDArray[np.float64]

FEATURES = (
    "one",  # the constant
    "score",  # gradient norm of the zero last layer, relative to the best candidate's
    "cost",  # parameters, relative to the host's
    "depth",  # 0 for the first site, 1 for the last
    "pointwise",  # the blueprint looks at one position alone
    "loss",  # training loss (nats) of the epoch before
    "gap",  # validation loss minus training loss (nats)
)
"""Of a candidate, in this order."""

NODE_FEATURES = ("depth", "features", "grown", "score")
"""Of a site: its depth, log2 of its features over 10, whether a branch is there, best score."""


class Candidate(BaseModel):
    """A blueprint at a site; `node` is the site's place in the chain of sites."""

    model_config = ConfigDict(frozen=True)

    site: str
    blueprint: str
    node: Annotated[int, Field(ge=0)]
    features: tuple[float, ...]


class Decision(BaseModel):
    """A choice and, once it is known, its reward (nats per sample).

    `nodes` describes every site; `probability` is that with which the choice was made, None if
    it was not by chance.
    """

    model_config = ConfigDict(frozen=True)

    step: int
    nodes: tuple[tuple[float, ...], ...]
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    chosen: Annotated[int, Field(ge=0)]
    probability: float | None
    reward: float | None = None

    def matrix(self) -> Array:
        """Return the candidates' features, one row each."""
        return np.array([c.features for c in self.candidates], dtype=np.float64)


def recorded(folder: Path) -> list[list[Decision]]:
    """Return the episodes below a folder: the judged decisions of every training, in order."""
    episodes = []
    for path in sorted(folder.rglob("history.json")):
        try:
            found: Sequence[Any] = json.loads(path.read_text()).get("decisions", [])
            decisions = [Decision.model_validate(value) for value in found]
        except (OSError, ValueError, AttributeError, ValidationError):
            continue  # some other program's history.json
        if judged := [d for d in decisions if d.reward is not None]:
            episodes.append(judged)
    return episodes
