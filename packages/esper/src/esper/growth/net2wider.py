"""Net2Wider: new neurons are copies of old ones, which share their fan-out.

Chen, Goodfellow and Shlens, Net2Net: Accelerating Learning via Knowledge Transfer, ICLR 2016
(arXiv:1511.05641), section 2.2. There every copy takes an equal share; then original and copy
would have the same gradients for ever, so the paper adds noise, which moves the function. Here
the share is drawn from [0.3, 0.7]: the sum, hence the function, is exact, and the two learn
differently.
"""

from __future__ import annotations

import torch
from torch import nn

from esper.growth.base import Neurons
from esper.growth.junction import inputs_of_one
from esper.growth.statistics import Statistics


class Net2Wider:
    """Copies the neurons through which most of the gradient flows."""

    name = "net2wider"
    preserves_function = True

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return the gradient norm of the fan-outs that would be split, the largest first."""
        return float(_importance(statistics).topk(min(count, _width(statistics))).values.norm())

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return copies of the `count` most important neurons (again from the top if fewer)."""
        order = _importance(statistics).argsort(descending=True).tolist()
        copied = [order[i % len(order)] for i in range(count)]
        shares = (0.3 + 0.4 * torch.rand(count, generator=generator)).tolist()
        fan_in = first.get_parameter("weight").detach()[copied]
        bias = first.bias
        each = inputs_of_one(first, second)
        weight = second.get_parameter("weight").detach().clone()
        outer = weight.reshape(len(weight), -1, each, *weight.shape[2:])  # one neuron, its inputs
        taken = []
        for original, share in zip(copied, shares, strict=True):
            taken.append(outer[:, original] * share)
            outer[:, original] *= 1 - share  # a second copy shares what the first left
        return Neurons(
            fan_in=fan_in,
            bias=bias.detach()[copied]
            if isinstance(bias, torch.Tensor)
            else fan_in.new_zeros(count),
            fan_out=torch.stack(taken, dim=1).flatten(1, 2),
            copied=tuple(copied),
            shares=tuple(shares),
        )


def _width(statistics: Statistics) -> int:
    return int(statistics.first.get_parameter("weight").shape[0])


def _importance(statistics: Statistics) -> torch.Tensor:
    """Return the norm of the loss's gradient with respect to each neuron's fan-out."""
    gradient = statistics.gradient.T @ statistics.hidden  # (out, width * positions in a patch)
    by_neuron: torch.Tensor = gradient.reshape(gradient.shape[0], _width(statistics), -1)
    norms: torch.Tensor = by_neuron.movedim(1, 0).flatten(1).norm(dim=1)
    return norms
