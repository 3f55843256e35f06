"""What every growth operator is: propose -> score -> init -> insert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from esper.growth.junction import Junction
from esper.growth.statistics import Statistics


@dataclass(frozen=True)
class Proposal:
    """`count` new neurons (channels) between the two layers of a junction."""

    operator: str
    junction: Junction
    count: int


@dataclass(frozen=True)
class Neurons:
    """The weights of `k` new neurons.

    `fan_in`: (k, *inner) as the first layer's weight, `bias`: (k,), `fan_out`: as the second
    layer's weight with the inputs of k neurons. `copied` names the existing neuron that each is a
    copy of (Net2Wider), and `shares` the part of each copied neuron's fan-out that the copy takes.
    """

    fan_in: Tensor
    bias: Tensor
    fan_out: Tensor
    copied: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()


class Operator(Protocol):
    """A way to widen a layer."""

    name: str
    preserves_function: bool

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return how much the loss is expected to fall, to first order, per unit of the step.

        Comparable between the junctions of one operator, not between operators.
        """

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return the weights of `count` new neurons, or fewer if no more directions are known."""


def mean_norm(weight: Tensor, dim: int) -> float:
    """Return the mean L2 norm of a weight's slices along `dim`: the scale of a neuron."""
    flat = weight.detach().movedim(dim, 0).flatten(1)
    return float(flat.norm(dim=1).mean())
