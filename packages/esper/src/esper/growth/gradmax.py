"""GradMax: the fan-out that gives new neurons the largest gradient.

Evci, van Merrienboer, Unterthiner, Vladymyrov and Pedregosa, GradMax: Growing Neural Networks
using Gradient Information, ICLR 2022 (arXiv:2201.05125), section 3. With the fan-in zero, the
gradient of the fan-in is W_out^T M with M = sum over samples of (dL/dz_out) x^T, so under
|W_out|_F <= c its norm is largest when the columns of W_out are the top left singular vectors
of M (equation 9; all singular values of equal weight).

With a fan-in of zero the pre-activation is the bias, where ReLU has no slope; the bias is
therefore a small positive number (1e-8), at which ReLU's slope is 1 and the function moves by
less than 1e-7. For convolutions M is that of the composite kernel, restricted to the centre of
the second kernel: exact for a second kernel of 1 x 1, an approximation for larger ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esper.growth.base import Neurons, mean_norm
from esper.growth.junction import rows
from esper.growth.statistics import Statistics

_BIAS = 1e-8
_NEGLIGIBLE = 1e-5  # of the largest singular value


class GradMax:
    """Fan-in zero, fan-out the top left singular vectors of the cross moment."""

    name = "gradmax"
    preserves_function = True

    def score(self, statistics: Statistics, count: int, generator: torch.Generator) -> float:
        """Return the largest gradient norm that `count` neurons of unit fan-out can have."""
        return float(torch.linalg.svdvals(cross_moment(statistics))[:count].norm())

    def init(
        self,
        first: nn.Module,
        second: nn.Module,
        statistics: Statistics,
        count: int,
        generator: torch.Generator,
    ) -> Neurons:
        """Return `count` neurons, at most one for each direction that M has.

        Each fan-out has the mean norm of the existing ones. Raises ValueError where M is zero,
        where a normalisation lies between the layers (the gradient is another then), from a
        Conv2d to a Linear layer, and where new neurons would change the function (an activation
        that is not 0 at 0) or never learn (ReLU without a bias).
        """
        if statistics.has_norm:
            raise ValueError("gradmax cannot grow through a normalisation; use net2wider")
        _check(statistics)
        inner = first.get_parameter("weight").detach()
        outer = second.get_parameter("weight").detach()
        u, sizes, _ = torch.linalg.svd(cross_moment(statistics), full_matrices=False)
        count = min(count, int((sizes > _NEGLIGIBLE * sizes[0]).sum()))
        if count == 0:
            raise ValueError("no gradient reaches the second layer")
        fan_out = outer.new_zeros(outer.shape[0], count, *outer.shape[2:])
        directions = u[:, :count] * mean_norm(outer, 1)
        if outer.dim() == 4:
            fan_out[:, :, outer.shape[2] // 2, outer.shape[3] // 2] = directions
        else:
            fan_out.copy_(directions)
        return Neurons(
            fan_in=inner.new_zeros(count, *inner.shape[1:]),
            bias=inner.new_full((count,), _BIAS),
            fan_out=fan_out,
        )


def _check(statistics: Statistics) -> None:
    first = statistics.first
    inner = first.get_parameter("weight").detach()
    bias = inner.new_full((1,), 0.0 if first.bias is None else _BIAS)
    at_start = statistics.respond(inner.new_zeros(1, *inner.shape[1:]), bias).requires_grad_()
    # A copy, for PyTorch's counter of operations can't follow a leaf into a module.
    out = statistics.activation(at_start.clone())
    if float(out.detach().abs().max()) > 2 * _BIAS:
        raise ValueError(
            "gradmax needs an activation that is 0 at 0, or the function changes; use net2wider"
        )
    if not bool(torch.autograd.grad(out.sum(), at_start)[0].any()):
        raise ValueError("gradmax needs a bias where the slope at 0 is 0 (ReLU); use net2wider")


def cross_moment(statistics: Statistics) -> Tensor:
    """Return M = G^T B of shape (outputs of the second layer, weights of one new neuron).

    Raises ValueError for a Conv2d before a Linear layer.
    """
    first, second = statistics.first, statistics.second
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.Linear):
        raise ValueError("gradmax cannot grow from a Conv2d to a Linear layer; use net2wider")
    if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
        return statistics.gradient.T @ statistics.inputs
    # Position p of the second layer's output sees the first's output through the kernel's
    # centre: unfold the first's patches as an image, and take the centre of each window.
    batch = statistics.raw.shape[0]
    image = torch.nn.functional.conv2d(
        statistics.raw, first.weight.detach(), None, first.stride, first.padding, first.dilation
    )
    columns = statistics.inputs.reshape(batch, *image.shape[2:], -1).movedim(-1, 1)
    columns = statistics.pooling(columns)
    delta = torch.zeros(1, 1, *second.kernel_size).to(columns)
    delta[0, 0, second.kernel_size[0] // 2, second.kernel_size[1] // 2] = 1.0
    channels = columns.shape[1]
    centred = torch.nn.functional.conv2d(
        columns,
        delta.expand(channels, 1, -1, -1),
        None,
        second.stride,
        second.padding,
        second.dilation,
        groups=channels,
    )
    return statistics.gradient.T @ rows(second, centred)
