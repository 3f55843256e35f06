"""Pursuit: of many random neurons, those that together explain most of the missing change.

Orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad, Asilomar 1993) over random fan-ins,
drawn as a new layer's. What is explained is V_perp of TINY (Verbockhaven et al., TMLR 2024,
arXiv:2405.19816): the change of the second layer's output that the loss wants and that no change
of the existing weights can make. Every choice is made on what the ones before it leave, so that no
neuron repeats another: GradMax and Firefly take the best directions of one gradient again and
again, and lose to chance by it. The fan-out is zero, hence the function is preserved exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from esper.growth.base import Neurons
from esper.growth.statistics import Statistics
from esper.growth.tiny import bottleneck

_SMALL = 1e-6  # relative: what is left of a candidate behind the chosen ones


class Pursuit:
    """The best of random neurons, chosen one after another. Linear layers only."""

    name = "pursuit"
    preserves_function = True

    def __init__(self, candidates: int = 4) -> None:
        self.candidates = candidates

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return the norm of the missing change, which bounds what any neurons can explain."""
        _check(statistics)
        return float(bottleneck(statistics).norm())

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return the chosen neurons, fan-outs zero.

        Raises ValueError for convolutions and where a normalisation lies between the layers.
        """
        _check(statistics)
        fan_in, bias = self._search(statistics, count, generator)
        outer = second.get_parameter("weight").detach()
        return Neurons(fan_in=fan_in, bias=bias, fan_out=outer.new_zeros(outer.shape[0], count))

    def _search(
        self, statistics: Statistics, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return fan-ins (count x d) and biases, in the order they were chosen in."""
        inner = statistics.first.get_parameter("weight").detach()
        bound = 1 / math.sqrt(inner.shape[1])
        number = count * self.candidates

        def uniform(*shape: int) -> Tensor:
            return (2 * torch.rand(*shape, generator=generator) - 1) * bound

        fan_in, bias = uniform(number, inner.shape[1]).to(inner), uniform(number).to(inner)
        if statistics.first.bias is None:
            bias = torch.zeros_like(bias)
        responses = statistics.activation(statistics.respond(fan_in, bias)).double()
        hidden = statistics.hidden.double()
        known = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)
        basis = torch.linalg.qr(known).Q
        left = responses - basis @ (basis.T @ responses)
        size = responses.norm(dim=0).clamp_min(1e-30)
        target = bottleneck(statistics).double()
        chosen: list[int] = []
        for _ in range(count):
            norms = left.norm(dim=0)
            usable = norms > _SMALL * size
            gain = (left.T @ target).norm(dim=1) / norms.clamp_min(1e-30)
            gain[~usable] = 0.0
            gain[chosen] = -1.0
            best = int(gain.argmax())
            chosen.append(best)
            if not bool(usable[best]):
                continue
            direction = left[:, best] / norms[best]
            target = target - torch.outer(direction, direction @ target)
            left = left - torch.outer(direction, direction @ left)
        return fan_in[chosen], bias[chosen]


def _check(statistics: Statistics) -> None:
    convolutions = any(isinstance(m, nn.Conv2d) for m in (statistics.first, statistics.second))
    if convolutions or statistics.has_norm:
        raise ValueError("pursuit grows between Linear layers without a normalisation")
