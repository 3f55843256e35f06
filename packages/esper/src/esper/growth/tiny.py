"""TINY: new neurons that undo the expressivity bottleneck.

Verbockhaven, Rudkiewicz, Chevallier and Charpiat, Growing Tiny Networks: Spotting Expressivity
Bottlenecks and Fixing Them Optimally, TMLR 2024 (arXiv:2405.19816). With B the first layer's
input (a column of ones for the bias), H the second's, V = -dL/dz the wanted change of the
second's output:

    V_perp = V - H dW*^T            what the best change of existing weights cannot reach
    S = B^T B / n,  N = B^T V_perp / n
    S^(-1/2) N = sum_k l_k u_k v_k^T
    fan-in a_k = sqrt(l_k) S^(-1/2) u_k,   fan-out w_k = sqrt(l_k) v_k

minimise |V_perp - B A W^T|^2 / n; the minimum is |V_perp|^2 / n - sum_k l_k^2. As the gradient of
a mean loss carries 1/n, the product is multiplied by n, and by a small gamma; the loss then
falls by gamma n^2 sum_k l_k^2 to first order, where the second layer is at its own optimum
(V = V_perp) and the activation's slope at 0 is 1. The function is not preserved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esper.growth.base import Neurons
from esper.growth.statistics import Statistics

_SMALL = 1e-6  # relative: directions of B with less variance are no directions


class Tiny:
    """The projected gradient's optimal neurons, scaled by `gamma`. Linear layers only."""

    name = "tiny"
    preserves_function = False

    def __init__(self, gamma: float = 0.01) -> None:
        self.gamma = gamma

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return n^2 sum_k l_k^2: the fall of the loss per unit of gamma, to first order."""
        _check(statistics)
        _, _, values = solve(statistics, count)
        return float((values**2).sum()) * statistics.inputs.shape[0] ** 2

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return `count` neurons, at most one for each direction of the bottleneck.

        Raises ValueError for convolutions, normalised layers, and where there is none.
        """
        _check(statistics)
        fan_in, fan_out, values = solve(statistics, count)
        if len(values) == 0:
            raise ValueError("there is no bottleneck: the existing weights reach everything")
        # What matters is the product; gamma's square root goes to each side, n into the fan-out.
        scale = self.gamma**0.5
        return Neurons(
            fan_in=fan_in[:, :-1] * scale,
            bias=fan_in[:, -1] * scale,
            fan_out=fan_out.T * scale * statistics.inputs.shape[0],
        )


def _check(statistics: Statistics) -> None:
    convolutions = any(isinstance(m, nn.Conv2d) for m in (statistics.first, statistics.second))
    if convolutions or statistics.has_norm:
        raise ValueError("tiny grows between Linear layers without a normalisation")


def bottleneck(statistics: Statistics) -> Tensor:
    """Return V_perp: (n, outputs), the wanted change that existing weights cannot make."""
    wanted = -statistics.gradient
    hidden = _with_bias(statistics.second, statistics.hidden)
    best = torch.linalg.lstsq(hidden.double(), wanted.double(), driver="gelsd").solution
    left: Tensor = wanted.double() - hidden.double() @ best
    return left.to(wanted)


def solve(statistics: Statistics, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (fan-in (k, d + 1) with the bias last, fan-out (k, outputs), l (k,))."""
    inputs = _with_bias(statistics.first, statistics.inputs).double()
    residual = bottleneck(statistics).double()
    n = inputs.shape[0]
    values, vectors = torch.linalg.eigh(inputs.T @ inputs / n)
    kept = values > _SMALL * values[-1]
    root = (vectors[:, kept] / values[kept].sqrt()) @ vectors[:, kept].T
    u, sizes, v = torch.linalg.svd(root @ (inputs.T @ residual / n), full_matrices=False)
    k = min(count, int((sizes > 1e-12 * sizes[0]).sum()))
    weight = sizes[:k].sqrt()
    fan_in = (root @ u[:, :k] * weight).T
    fan_out = v[:k] * weight[:, None]
    like = statistics.inputs
    return fan_in.to(like), fan_out.to(like), sizes[:k].to(like)


def _with_bias(layer: nn.Module, rows: Tensor) -> Tensor:
    """Append what a bias is multiplied by: ones, or zeros where the layer has none."""
    value = 0.0 if layer.bias is None else 1.0
    return torch.cat([rows, rows.new_full((rows.shape[0], 1), value)], dim=1)
