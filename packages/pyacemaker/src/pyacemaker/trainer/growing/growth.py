"""The three ways an esper potential grows, each without changing energies, forces or stresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from esper.growth.insert import carry_over
from esper.growth.operators import WIDENING, grow, propose
from pyacemaker.trainer.growing.batches import Batch, predict, squares
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.growing.sizes import LAST_CHANNELS, LAST_TRIPLES, Size, extended

Array = NDArray[np.float64]
Way = Literal["channels", "body_order", "width"]


def larger(size: Size, way: Way) -> Size | None:
    """Return the descriptor's next size, None where the ladder ends or the way has none."""
    if way == "channels" and size.channels < LAST_CHANNELS:
        return Size(size.channels + 1, size.triples)
    if way == "body_order" and size.triples < LAST_TRIPLES:
        return Size(size.channels, size.triples + 1)
    return None


def add_functions(
    model: GrowingNetworks,
    size: Size,
    shift: Array,
    scale: Array,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    into_blocks: bool,
) -> int:
    """Append the functions of `size` that the model has not; return how many.

    Their linear weights are zero and, with `into_blocks`, so are their columns in every block.
    `shift` and `scale` (elements x F) are the enlarged descriptor's; old functions keep theirs.
    """
    before = len(model.functions)
    model.functions = extended(model.functions, size, len(model.elements))
    new = len(model.functions) - before
    for z, network in enumerate(model.networks()):
        for name, values in (("shift", shift), ("scale", scale)):
            kept = getattr(network, name)
            more = torch.from_numpy(values[z, before:].copy())
            setattr(network, name, torch.cat([kept, more]))
        linear = nn.Parameter(torch.cat([network.linear.detach(), network.linear.new_zeros(new)]))
        if optimizer is not None:
            carry_over(optimizer, network.linear, linear, 0)
        network.linear = linear
        if not into_blocks:
            continue
        for n, block in enumerate(network.blocks):
            first = block.get_submodule("0")
            assert isinstance(first, nn.Linear)  # noqa: S101 - for the type checker
            weight = first.get_parameter("weight")
            wider = nn.Parameter(
                torch.cat([weight.detach(), weight.new_zeros(len(weight), new)], dim=1)
            )
            if optimizer is not None:
                carry_over(optimizer, weight, wider, 1)
            first.weight, first.in_features = wider, first.in_features + new
            network.inputs[n] = torch.cat([network.inputs[n], torch.arange(before, before + new)])
    return new


def add_block(
    model: GrowingNetworks,
    width: int,
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Add a residual block on all functions; its output layer begins at zero."""
    known = {id(p) for p in model.parameters()}
    model.add_block(range(len(model.functions)), width, generator)
    if optimizer is not None:
        fresh = [p for p in model.parameters() if id(p) not in known]
        optimizer.add_param_group({"params": fresh})


def widen(
    model: GrowingNetworks,
    count: int,
    operator: str,
    batch: Batch,
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Give both hidden layers of every block `count` more neurons, by an operator of esper."""
    chosen = WIDENING[operator]()

    def loss() -> torch.Tensor:
        return squares(batch, predict(model, batch, train=True)) / batch.rows

    present = set(batch.kinds.tolist())
    for z, network in enumerate(model.networks()):
        for block in network.blocks:
            for layer in ("0", "2"):
                left = count
                while left > 0:  # an operator may know fewer directions than are wanted
                    # an element the batch lacks has no gradient to choose by
                    by = chosen if z in present else WIDENING["random"]()
                    proposals = propose(block, by, {layer: left})
                    batch_loss = loss if z in present else _at_rest(block)
                    grown = grow(block, by, proposals, batch_loss, generator, optimizer)
                    left -= grown.count


def _at_rest(block: nn.Module) -> Callable[[], torch.Tensor]:
    first = block.get_submodule("0")
    assert isinstance(first, nn.Linear)  # noqa: S101 - for the type checker

    def loss() -> torch.Tensor:
        value: torch.Tensor = block(first.weight.new_zeros(1, first.in_features)).sum()
        return value

    return loss


def loss_of(model: GrowingNetworks, batches: Sequence[Batch]) -> float:
    """Return the mean squared weighted residual."""
    total = sum(float(squares(b, predict(model, b, train=False)).detach()) for b in batches)
    return total / max(sum(b.rows for b in batches), 1)
