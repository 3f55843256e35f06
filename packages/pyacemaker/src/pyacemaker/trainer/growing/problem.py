"""What a fit works on: both sides of the split, with the environments that a descriptor sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import default_cutoff
from pyacemaker.trainer.growing.batches import Batch, batches_of
from pyacemaker.trainer.growing.environments import Environment, environments_of
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target, targets_of
from rootstock.environments.esper_env import Descriptor

_STEPS_PER_EPOCH = 12
_MOST_IN_BATCH = 16


@dataclass(frozen=True)
class Side:
    """One side of the split, seen by a descriptor."""

    structures: Sequence[Atoms]
    targets: Sequence[Target]
    environments: Sequence[Environment]

    def batches(self, model: GrowingNetworks, settings: TrainerSettings) -> list[Batch]:
        """Return it in batches, a dozen steps an epoch where there is enough."""
        size = int(np.clip(len(self.structures) // _STEPS_PER_EPOCH, 1, _MOST_IN_BATCH))
        return batches_of(
            self.structures, self.environments, self.targets, model.scales(), settings, size
        )


@dataclass(frozen=True)
class Problem:
    """What every fit of one call shares."""

    elements: tuple[str, ...]
    cutoff_A: float
    reference_energies: Mapping[str, float]
    train: Side
    validation: Side

    def seen_by(self, model: GrowingNetworks) -> Problem:
        """Return the problem with the environments of the model's functions."""
        descriptor = Descriptor(self.elements, self.cutoff_A, model.functions)
        return replace(
            self,
            train=replace(
                self.train, environments=environments_of(descriptor, self.train.structures)
            ),
            validation=replace(
                self.validation,
                environments=environments_of(descriptor, self.validation.structures),
            ),
        )


def problem_of(
    train: Sequence[Atoms],
    validation: Sequence[Atoms],
    reference_energies: Mapping[str, float],
    settings: TrainerSettings,
) -> Problem:
    """Return the problem, seen by no descriptor yet. Raises TrainerError for bad labels."""
    if not train:
        raise TrainerError("the training set is empty: label structures first")
    elements = tuple(sorted(reference_energies))
    baseline = baseline_of(settings.baseline, elements)
    both = targets_of([*train, *validation], reference_energies, baseline, settings)
    targets, on_validation = both[: len(train)], both[len(train) :]
    return Problem(
        elements,
        settings.cutoff_A or default_cutoff(elements),
        reference_energies,
        Side(list(train), targets, ()),
        Side(list(validation), on_validation, ()),
    )


class one_thread:  # noqa: N801 - a context, written as one
    """Small matrices on one thread: quicker, and the same bits whatever the machine's load."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
