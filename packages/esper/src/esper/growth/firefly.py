"""Firefly: neurons grown along the direction in which the loss falls fastest.

Wu, Liu, Stone and Liu, Firefly Neural Architecture Descent: a General Approach for Growing
Neural Networks, NeurIPS 2020 (arXiv:2102.08574). New neurons enter as epsilon * w_out act(w_in x)
and the pair (w_in, w_out) of bounded norm is chosen to make the first-order change of the loss,
epsilon <dL/dz, w_out act(w_in x)>, most negative (equation 4, new neurons). For a given w_in the
best w_out is -m / |m| with m = dL/dw_out, and the fall is epsilon |m|; w_in is improved by
gradient ascent on |m| from several random starts, and the best candidates are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esper.growth.base import Neurons, mean_norm
from esper.growth.junction import inputs_of_one
from esper.growth.statistics import Statistics


class Firefly:
    """The best of random candidates, each improved by gradient ascent."""

    name = "firefly"
    preserves_function = False  # but for epsilon = 0

    def __init__(self, epsilon: float = 1e-3, candidates: int = 4, steps: int = 20) -> None:
        self.epsilon = epsilon
        self.candidates = candidates
        self.steps = steps

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return the fall of the loss per unit of epsilon, summed over `count` neurons."""
        return float(self._search(statistics, count, generator)[2].sum())

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return the `count` best; fan-outs have the norm epsilon.

        Raises ValueError where a normalisation lies between the layers.
        """
        if statistics.has_norm:
            raise ValueError("firefly cannot grow through a normalisation; use net2wider")
        fan_in, moment, _ = self._search(statistics, count, generator)
        outer = second.get_parameter("weight").detach()
        direction = -moment / moment.norm(dim=1, keepdim=True).clamp_min(1e-30)
        shape = (count, outer.shape[0], inputs_of_one(first, second), *outer.shape[2:])
        fan_out = direction.reshape(shape).transpose(0, 1).flatten(1, 2)
        return Neurons(
            fan_in=fan_in,
            bias=fan_in.new_zeros(count),
            fan_out=(self.epsilon * fan_out).contiguous(),
        )

    def _search(
        self, statistics: Statistics, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (fan-in (k, ...), dL/dw_out (k, outputs * kernel), its norm (k,))."""
        weight = statistics.first.get_parameter("weight").detach()
        size = mean_norm(weight, 0)
        start = torch.randn(count * self.candidates, *weight.shape[1:], generator=generator)
        trial = _sized(start.to(weight), size).requires_grad_()
        ascent = torch.optim.Adam([trial], lr=0.05 * size, maximize=True)
        best, score = trial.detach().clone(), moments(statistics, trial.detach()).norm(dim=1)
        for _ in range(self.steps):
            ascent.zero_grad()
            moments(statistics, trial).norm(dim=1).sum().backward()
            ascent.step()
            with torch.no_grad():
                trial.copy_(_sized(trial, size))
                now = moments(statistics, trial).norm(dim=1)
                better = now > score
                best[better], score[better] = trial.detach()[better], now[better]
        chosen = score.topk(count).indices
        return best[chosen], moments(statistics, best[chosen]), score[chosen]


def moments(statistics: Statistics, fan_in: Tensor) -> Tensor:
    """Return dL/dw_out at w_out = 0 for neurons with these fan-ins: (k, outputs * kernel)."""
    count = fan_in.shape[0]
    seen = statistics.second_patches(statistics.respond(fan_in, fan_in.new_zeros(count)))
    gradient = statistics.gradient.T @ seen  # (outputs, k * kernel)
    return gradient.reshape(gradient.shape[0], count, -1).movedim(1, 0).flatten(1)


def _sized(fan_in: Tensor, size: float) -> Tensor:
    norm = fan_in.detach().flatten(1).norm(dim=1).clamp_min(1e-30)
    sized: Tensor = fan_in * (size / norm).reshape(-1, *[1] * (fan_in.dim() - 1))
    return sized
