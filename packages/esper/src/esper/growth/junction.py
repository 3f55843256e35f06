"""Where a layer can be widened: two layers with only activations, pooling, a norm between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

_POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Sigmoid,
    nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Identity,
)  # fmt: skip
_PER_CHANNEL = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Dropout,
    nn.Dropout2d,
)

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_IN_ORDER = nn.Sequential.forward


@dataclass(frozen=True)
class Junction:
    """Two layers by name, and what lies between them, in order.

    New neurons (channels) of `first` are new inputs of `second`: one for each neuron, or, where a
    Flatten lies between, one for each pixel of a channel (see `inputs_of_one`).
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
    per-channel pooling, dropout and at most one BatchNorm; or a Conv2d and, behind a Flatten, a
    Linear layer. Elsewhere the data flow cannot be read off the modules: name such a Junction
    yourself. A layer that the model has in two places, or whose parameters another module shares,
    is left out: it could not grow in one of them.
    """
    found = []
    shared = _shared(model)
    for prefix, module in model.named_modules():
        if not isinstance(module, nn.Sequential) or type(module).forward is not _IN_ORDER:
            continue
        start: str | None = None
        between: list[str] = []
        for name, child in module._modules.items():  # named_children leaves out what comes again
            full = f"{prefix}.{name}" if prefix else name
            if child in shared:
                start, between = None, []
            elif isinstance(child, nn.Linear | nn.Conv2d):
                here = [model.get_submodule(name) for name in between]
                if start is not None and _fit(model.get_submodule(start), child, here):
                    found.append(Junction(start, full, tuple(between)))
                start, between = full, []
            elif _passes(child, [model.get_submodule(name) for name in between]):
                between.append(full)
            else:
                start, between = None, []
    return found


def _shared(model: nn.Module) -> set[nn.Module]:
    """Return the layers with parameters that the model knows under more than one name."""
    names = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    return {
        module
        for module in model.modules()
        if any(names[id(p)] > 1 for p in module.parameters(recurse=False))
    }


def _passes(module: nn.Module, before: list[nn.Module]) -> bool:
    """Say whether a module keeps neurons (channels) apart, behind a layer and these modules."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return not any(isinstance(m, (*_NORMS, nn.Flatten)) for m in before)
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    return isinstance(module, (*_POINTWISE, *_PER_CHANNEL))


def _fit(first: nn.Module, second: nn.Module, between: list[nn.Module]) -> bool:
    flat = any(isinstance(module, nn.Flatten) for module in between)
    if isinstance(first, nn.Linear):
        return isinstance(second, nn.Linear) and not flat
    if not isinstance(first, nn.Conv2d) or first.groups > 1:
        return False
    if isinstance(second, nn.Linear):
        return flat and second.in_features % first.out_channels == 0
    return isinstance(second, nn.Conv2d) and second.groups == 1 and not flat


def inputs_of_one(first: nn.Module, second: nn.Module) -> int:
    """Return how many inputs of the second layer one neuron (channel) of the first is.

    Those of a channel lie side by side, as Flatten leaves them.
    """
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.Linear):
        return second.in_features // first.out_channels
    return 1


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
