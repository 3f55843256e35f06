"""The networks that a configuration can begin with, and what they cost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from esper.config import NetworkConfig


def build_network(
    config: NetworkConfig,
    shape: Sequence[int],
    classes: int,
    generator: torch.Generator,
    widths: Sequence[int] | None = None,
) -> nn.Sequential:
    """Build the network for images of `shape` (channels, height, width).

    Weights are drawn from `generator` as PyTorch draws them; `widths` override the
    configuration's (a network that has grown). Hidden layers are named hidden0, hidden1, ...
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chosen = tuple(widths or config.widths)
        return (
            _mlp(shape, classes, chosen, config.norm == "batch")
            if config.kind == "mlp"
            else _cnn(shape, classes, chosen, config.norm == "batch")
        )


def _mlp(
    shape: Sequence[int], classes: int, widths: tuple[int, ...], normed: bool
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    before = int(torch.Size(shape).numel())
    for i, width in enumerate(widths):
        layers[f"hidden{i}"] = nn.Linear(before, width)
        if normed:
            layers[f"norm{i}"] = nn.BatchNorm1d(width)
        layers[f"act{i}"] = nn.ReLU()
        before = width
    layers["head"] = nn.Linear(before, classes)
    return nn.Sequential(layers)


def _cnn(
    shape: Sequence[int], classes: int, widths: tuple[int, ...], normed: bool
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = shape[0]
    for i, width in enumerate(widths):
        if i > 0:
            layers[f"pool{i}"] = nn.MaxPool2d(2)
        layers[f"hidden{i}"] = nn.Conv2d(before, width, 3, padding=1)
        if normed:
            layers[f"norm{i}"] = nn.BatchNorm2d(width)
        layers[f"act{i}"] = nn.ReLU()
        before = width
    layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["head"] = nn.Conv2d(before, classes, 1)
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers)


def widths_of(network: nn.Module) -> tuple[int, ...]:
    """Return the present widths of the hidden layers."""
    return tuple(
        int(module.get_parameter("weight").shape[0])
        for name, module in network.named_children()
        if name.startswith("hidden")
    )


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
