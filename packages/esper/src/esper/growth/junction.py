"""Where a layer can be widened: two layers with only an activation (and a norm) between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

_POINTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.Softplus, nn.Identity)
_PER_CHANNEL = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Dropout,
    nn.Dropout2d,
)


@dataclass(frozen=True)
class Junction:
    """Two layers of one kind by name, and what lies between them, in order.

    New neurons (channels) of `first` are new inputs of `second`.
    """

    first: str
    second: str
    between: tuple[str, ...] = ()

    def norm_of(self, model: nn.Module) -> nn.BatchNorm1d | nn.BatchNorm2d | None:
        """Return the normalisation between the layers, if there is one."""
        for name in self.between:
            module = model.get_submodule(name)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                return module
        return None

    def activation(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return what lies between the layers as a function, without a normalisation."""
        modules = [model.get_submodule(name) for name in self.between]

        def apply(x: Tensor) -> Tensor:
            for module in modules:
                if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    x = module(x)
            return x

        return apply

    def pooling(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return the pooling between the layers, as it treats units that are all alike.

        Of equal values max pooling passes (and sends the gradient to) the first of a window.
        """
        modules = [model.get_submodule(name) for name in self.between]

        def apply(x: Tensor) -> Tensor:
            for module in modules:
                if isinstance(module, nn.MaxPool2d):
                    height, width = module(x[:1, :1]).shape[2:]
                    down, across = _pair(module.stride)
                    x = x[:, :, ::down, ::across][:, :, :height, :width]
                elif isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
                    x = module(x)
            return x

        return apply


def junctions(model: nn.Module) -> list[Junction]:
    """Find every junction in the `nn.Sequential`s of `model`.

    Two Linear or two Conv2d layers (no groups), and between them only pointwise activations,
    per-channel pooling, dropout and at most one BatchNorm. Elsewhere the data flow cannot be
    read off the modules: name such a Junction yourself.
    """
    found = []
    for prefix, module in model.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        start: str | None = None
        between: list[str] = []
        for name, child in module.named_children():
            full = f"{prefix}.{name}" if prefix else name
            if isinstance(child, nn.Linear | nn.Conv2d):
                if start is not None and _fit(model.get_submodule(start), child):
                    found.append(Junction(start, full, tuple(between)))
                start, between = full, []
            elif isinstance(child, (*_POINTWISE, *_PER_CHANNEL, nn.BatchNorm1d, nn.BatchNorm2d)):
                between.append(full)
            else:
                start, between = None, []
    return found


def _fit(first: nn.Module, second: nn.Module) -> bool:
    if isinstance(first, nn.Linear) and isinstance(second, nn.Linear):
        return True
    return (
        isinstance(first, nn.Conv2d)
        and isinstance(second, nn.Conv2d)
        and first.groups == second.groups == 1
    )


def patches(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the inputs of `layer` as rows: (samples * positions, weights of one neuron)."""
    if isinstance(layer, nn.Conv2d):
        padding = layer.padding if isinstance(layer.padding, tuple) else _padding(layer)
        columns = functional.unfold(
            x, layer.kernel_size, dilation=layer.dilation, padding=padding, stride=layer.stride
        )
        return columns.transpose(1, 2).flatten(0, 1)
    return x.flatten(0, -2)


def rows(layer: nn.Module, z: Tensor) -> Tensor:
    """Return outputs of `layer` (or their gradients) as rows: (samples * positions, neurons)."""
    if isinstance(layer, nn.Conv2d):
        return z.flatten(2).transpose(1, 2).flatten(0, 1)
    return z.flatten(0, -2)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    if layer.padding == "valid":
        return (0, 0)
    total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return tuple(t // 2 for t in total)
