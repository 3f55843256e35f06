"""What every explorer is given, and what it hands back: MD and kinetic Monte Carlo alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared


@dataclass(frozen=True)
class Stage:
    """Where the campaign stands when it explores with a potential that passed validation.

    `fit` is the result of the training step; files go below `folder`; seeds are drawn from
    `rng`. `independent` runs are the last test: they share nothing with what was learnt from.
    """

    iteration: int
    prepared: Prepared
    fit: Mapping[str, Any]
    folder: Path
    rng: np.random.Generator
    independent: bool = False


@dataclass(frozen=True)
class Explored:
    """How a run ended.

    `record` is what the state keeps of it, plain JSON values: at least `kind`,
    `temperature_K`, `status` (completed, halted or failed), `message`, `engine`,
    `gamma_halt`, `wall_s`, `warnings` and `told` (one line for the log). `frame` is the last
    structure, with the array `gamma` where the run halted. `files` by name
    are what the next run goes on from.
    """

    record: dict[str, Any]
    frame: Atoms
    files: Mapping[str, Path] = field(default_factory=dict)


class Task(Protocol):
    """One run, to be done by a worker."""

    @property
    def workdir(self) -> Path:
        """Where its files lie."""

    def work(self) -> Explored:
        """Run it. Raises DynamicsError where it cannot be run at all."""


class Explorer(Protocol):
    """A way to find where the potential does not know: returns the runs of a stage."""

    def __call__(self, campaign: Campaign, stage: Stage) -> Sequence[Task]:
        """Return the runs; one that was halted before goes on from where it was."""
