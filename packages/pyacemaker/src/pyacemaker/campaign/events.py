"""What the campaign tells whoever watches it: the terminal, a test, nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

STEP_WORDS = {
    "reference": "choosing the reference structure",
    "cutoff": "converging the plane-wave cutoff",
    "atoms": "labelling isolated atoms",
    "phases": "looking for stable phases by the oracle",
    "explore": "exploring: making candidates",
    "select": "selecting what to label",
    "label": "labelling",
    "train": "fitting the potential",
    "validate": "validating",
    "grow": "deciding whether the networks grow",
    "md": "dynamics under the watchdog",
    "calibrate": "calibrating gamma against held-out labels",
    "barriers": "comparing barriers with the oracle's",
    "extend": "exploring beyond the goal",
    "certify_md": "independent dynamics",
    "certify": "labelling independent trajectories",
    "certificate": "testing on independent trajectories",
}


@dataclass(frozen=True)
class Event:
    """Something that happened.

    `kind` is ``begin`` or ``end`` of a step, ``progress`` inside one (`data` has `done`
    and `total`), or ``note``: a decision, also kept in the log. Iteration 0 is the
    preparation.
    """

    kind: Literal["begin", "end", "progress", "note"]
    iteration: int
    step: str
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
