"""Random neurons: the control against which every other operator has to win."""

from __future__ import annotations

import math

import torch
from torch import nn

from esper.growth.base import Neurons
from esper.growth.junction import inputs_of_one
from esper.growth.statistics import Statistics


class RandomControl:
    """Fan-in as PyTorch draws a new layer's, fan-out zero, place by chance.

    The function is preserved exactly, and the first gradients reach the fan-out only.
    """

    name = "random"
    preserves_function = True

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return a number drawn from [0, 1)."""
        return float(torch.rand((), generator=generator))

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return `count` neurons: uniform in +-1/sqrt(fan-in), as nn.Linear and nn.Conv2d."""
        inner = first.get_parameter("weight").detach()
        outer = second.get_parameter("weight").detach()
        bound = 1 / math.sqrt(inner[0].numel())

        def uniform(*shape: int) -> torch.Tensor:
            return (2 * torch.rand(*shape, generator=generator) - 1) * bound

        return Neurons(
            fan_in=uniform(count, *inner.shape[1:]).to(inner),
            bias=uniform(count).to(inner),
            fan_out=outer.new_zeros(
                outer.shape[0], count * inputs_of_one(first, second), *outer.shape[2:]
            ),
        )
