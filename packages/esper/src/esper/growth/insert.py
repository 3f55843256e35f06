"""Put new neurons into a model, and take the optimiser's memory along."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esper.growth.base import Neurons
from esper.growth.junction import Junction, inputs_of_one
from esper.kasmina import KasminaLayer


@dataclass(frozen=True)
class Newborn:
    """A parameter that has grown: entries from `start` on, along `axis`, are new."""

    parameter: nn.Parameter
    axis: int
    start: int


def insert(
    model: nn.Module,
    junction: Junction,
    neurons: Neurons,
    optimizer: torch.optim.Optimizer | None = None,
) -> list[Newborn]:
    """Widen the first layer of `junction` by `neurons`; return what is new.

    Parameters become new, larger ones. Their place in `optimizer` is kept, and with it every
    moment of the entries that were there before; the moments of new entries are zero. One that is
    frozen need not be in the optimiser.
    Raises ValueError where the shapes do not fit, the optimiser lacks a parameter, or a seed at
    the junction has a branch of the old width; nothing has been changed then.
    """
    first = model.get_submodule(junction.first)
    second = model.get_submodule(junction.second)
    assert isinstance(first, nn.Linear | nn.Conv2d)  # noqa: S101
    assert isinstance(second, nn.Linear | nn.Conv2d)  # noqa: S101
    count, old = neurons.fan_in.shape[0], first.weight.shape[0]
    each = inputs_of_one(first, second)
    if neurons.fan_in.shape[1:] != first.weight.shape[1:]:
        raise ValueError(f"'{junction.first}': {tuple(neurons.fan_in.shape)} is no fan-in")
    if (
        neurons.fan_out.shape[1] != count * each
        or neurons.fan_out.shape[2:] != second.weight.shape[2:]
        or neurons.fan_out.shape[0] != second.weight.shape[0]
    ):
        raise ValueError(f"'{junction.second}': {tuple(neurons.fan_out.shape)} is no fan-out")
    norm = junction.norm_of(model)
    _check_free(model, junction)
    if optimizer is not None:
        _check_held(optimizer, [first, second, *([norm] if norm is not None else [])])
    with torch.no_grad():
        for original, share in zip(neurons.copied, neurons.shares, strict=True):
            second.weight[:, original * each : (original + 1) * each] *= 1 - share
    grown = [
        _grow(first, "weight", neurons.fan_in, 0, optimizer),
        _grow(second, "weight", neurons.fan_out, 1, optimizer),
    ]
    if first.bias is not None:
        grown.append(_grow(first, "bias", neurons.bias, 0, optimizer))
    if norm is not None:
        grown += _grow_norm(norm, neurons, count, optimizer)
    if isinstance(first, nn.Conv2d):
        first.out_channels = old + count
    else:
        first.out_features = old + count
    if isinstance(second, nn.Conv2d):
        second.in_channels = old + count
    else:
        second.in_features = (old + count) * each
    return grown


def _check_free(model: nn.Module, junction: Junction) -> None:
    for name in (junction.first, *junction.between):
        for hook in model.get_submodule(name)._forward_hooks.values():
            layer = getattr(hook, "__self__", None)
            if isinstance(layer, KasminaLayer) and layer.branch is not None:
                raise ValueError(
                    f"'{name}' has a seed whose branch has the old width; widen before it "
                    "germinates, or after `unwrap`"
                )


def _held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _check_held(optimizer: torch.optim.Optimizer, modules: list[nn.Module]) -> None:
    held = _held(optimizer)
    grows = [p for module in modules for p in module.parameters(recurse=False)]
    if any(p.requires_grad and id(p) not in held for p in grows):
        raise ValueError(
            "the optimiser does not hold every parameter that grows; give it those of both layers"
        )


def _grow_norm(
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
    neurons: Neurons,
    count: int,
    optimizer: torch.optim.Optimizer | None,
) -> list[Newborn]:
    index = list(neurons.copied)
    fresh = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    grown = []
    for name, value in fresh.items():
        old = getattr(norm, name)
        if old is None:
            continue
        new = old.detach()[index] if index else old.detach().new_full((count,), value)
        if isinstance(old, nn.Parameter):
            grown.append(_grow(norm, name, new, 0, optimizer))
        else:
            setattr(norm, name, torch.cat([old, new]))
    norm.num_features += count
    return grown


def _grow(
    module: nn.Module, name: str, new: Tensor, axis: int, optimizer: torch.optim.Optimizer | None
) -> Newborn:
    old = module.get_parameter(name)
    value = torch.cat([old.detach(), new.to(old)], dim=axis)
    larger = nn.Parameter(value, requires_grad=old.requires_grad)
    setattr(module, name, larger)
    if optimizer is not None and id(old) in _held(optimizer):
        carry_over(optimizer, old, larger, axis)
    return Newborn(larger, axis, old.shape[axis])


def carry_over(
    optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, axis: int
) -> None:
    """Let `new` take the place of `old` in `optimizer`, moments and all.

    State tensors of the old parameter's shape are enlarged by zeros along `axis`; others (the
    step count) stay. Raises ValueError if `old` is not in the optimiser.
    """
    for group in optimizer.param_groups:
        for index, parameter in enumerate(group["params"]):
            if parameter is old:
                group["params"][index] = new
                break
        else:
            continue
        break
    else:
        raise ValueError("the optimiser does not hold the parameter that grew")
    if old not in optimizer.state:
        return
    state = optimizer.state.pop(old)
    more = list(new.shape)
    more[axis] -= old.shape[axis]
    optimizer.state[new] = {
        key: torch.cat([value, value.new_zeros(more)], dim=axis)
        if isinstance(value, Tensor) and value.shape == old.shape
        else value
        for key, value in state.items()
    }
