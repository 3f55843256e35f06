"""What the operators know of a junction: activations and gradients on one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esper.growth.junction import Junction, patches, rows


@dataclass(frozen=True)
class Statistics:
    """Rows are samples (for convolutions: samples times positions).

    `inputs`: (n, d) what the first layer sees, `hidden`: (m, h) what the second sees, both
    unfolded into patches; `gradient`: (m, o) of the loss with respect to what the second layer
    puts out. The loss is a mean over a batch, so the gradient carries its 1/batch. `raw` is the
    first layer's input as it came. `has_norm`: a normalisation lies between.
    """

    first: nn.Module
    second: nn.Module
    activation: Callable[[Tensor], Tensor]
    pooling: Callable[[Tensor], Tensor]
    raw: Tensor
    inputs: Tensor
    hidden: Tensor
    gradient: Tensor
    has_norm: bool

    def second_patches(self, new: Tensor) -> Tensor:
        """Return new hidden units, as the first layer would put them out, as the second's rows.

        `new` is (n, k) for Linear, (n, k, H, W) for Conv2d, before the activation.
        """
        return patches(self.second, self.activation(new))

    def respond(self, fan_in: Tensor, bias: Tensor) -> Tensor:
        """Return what new neurons with these weights put out before the activation."""
        if isinstance(self.first, nn.Conv2d):
            return nn.functional.conv2d(
                self.raw,
                fan_in,
                bias,
                self.first.stride,
                self.first.padding,
                self.first.dilation,
            )
        return nn.functional.linear(self.raw, fan_in, bias)


def collect(model: nn.Module, junction: Junction, loss: Callable[[], Tensor]) -> Statistics:
    """Run `loss` once and return what happened at `junction`; no parameter's grad is touched.

    Running statistics of normalisations are put back.
    """
    first = model.get_submodule(junction.first)
    second = model.get_submodule(junction.second)
    seen: dict[str, Tensor] = {}

    def at_first(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
        seen["raw"] = inputs[0]

    def at_second(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen["hidden"], seen["output"] = inputs[0], output

    handles = [first.register_forward_hook(at_first), second.register_forward_hook(at_second)]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            (gradient,) = torch.autograd.grad(loss(), seen["output"])
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    return Statistics(
        first=first,
        second=second,
        activation=junction.activation(model),
        pooling=junction.pooling(model),
        raw=seen["raw"].detach(),
        inputs=patches(first, seen["raw"].detach()),
        hidden=patches(second, seen["hidden"].detach()),
        gradient=rows(second, gradient),
        has_norm=junction.norm_of(model) is not None,
    )
