"""Which way a potential grows, and growing it; that its function stays the same is verified."""

from __future__ import annotations

import numpy as np
import torch

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.growing import growth
from pyacemaker.trainer.growing.batches import predict
from pyacemaker.trainer.growing.environments import scales_of
from pyacemaker.trainer.growing.network import GrowingNetworks, networks_from
from pyacemaker.trainer.growing.problem import Problem
from pyacemaker.trainer.growing.readout import solve_readout
from pyacemaker.trainer.growing.sizes import Size, extended
from pyacemaker.trainer.settings import TrainerSettings

PRESERVED = 1e-6  # eV, eV/angstrom, eV/angstrom^3: a growth that changes more is refused
_WORTH = 0.95  # of the loss: what more functions must bring it to, to be preferred to width


def choose(
    problem: Problem, model: GrowingNetworks, size: Size, settings: TrainerSettings
) -> tuple[growth.Way, dict[str, float]]:
    """Return the way to grow, and the loss each descriptor would bring, relative to now.

    `problem` is as the model sees it. Raises TrainerError where nothing can grow any more.
    """

    def solved(trial: GrowingNetworks, seen: Problem) -> float:
        batches = seen.train.batches(trial, settings)
        solve_readout(trial, batches, seen.train.structures, settings.ridge)
        judged = seen.validation.batches(trial, settings) if validates else batches
        return growth.loss_of(trial, judged)

    validates = bool(problem.validation.structures)
    now = solved(_copy(model), problem)
    gains: dict[str, float] = {}
    ways: tuple[growth.Way, ...] = ("channels", "body_order")
    for way in ways:
        larger = growth.larger(size, way)
        if larger is None:
            continue
        wanted = extended(model.functions, larger, len(model.elements))
        if len(wanted) > settings.esper_max_functions:
            continue
        trial = _copy(model)
        seen = _enlarge(problem, trial, larger, way)
        gains[way] = solved(trial, seen) / now
    best = min(gains, key=lambda way: gains[way], default=None)
    if best is not None and gains[best] < _WORTH:
        return ("channels" if best == "channels" else "body_order"), gains
    if model.widths()[0] < settings.esper_max_width:
        return "width", gains
    if best is None:
        raise TrainerError("the potential has every width, channel and term it may have")
    return ("channels" if best == "channels" else "body_order"), gains


def grown(
    problem: Problem,
    model: GrowingNetworks,
    size: Size,
    way: growth.Way,
    settings: TrainerSettings,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer | None = None,
) -> tuple[GrowingNetworks, Size]:
    """Carry a growth out; the function is what it was, which is verified.

    `problem` need not have been seen by the model. Raises TrainerError where a growth is not
    possible or would change the function.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    seen = problem.seen_by(model)
    batch = seen.train.batches(model, settings)[0]
    before = predict(model, batch, train=False)
    if way == "width":
        count = max(1, model.widths()[0] // 2)
        count = min(count, settings.esper_max_width - model.widths()[0])
        if count < 1:
            raise TrainerError("the potential has every width, channel and term it may have")
        growth.widen(model, count, settings.esper_operator, batch, generator, optimizer)
    else:
        larger = growth.larger(size, way)
        if larger is None:
            raise TrainerError(f"the descriptor cannot grow in {way} any more")
        size = larger
        seen = _enlarge(problem, model, size, way, optimizer)
        if way == "body_order":
            growth.add_block(model, settings.esper_width, generator, optimizer)
        batch = seen.train.batches(model, settings)[0]
    after = predict(model, batch, train=False)
    for name in ("energy", "forces", "stress"):
        change = float((getattr(after, name) - getattr(before, name)).detach().abs().max())
        if change > PRESERVED:
            raise TrainerError(f"a growth in {way} would change {name} by {change:.2g}")
    return model, size


def _enlarge(
    problem: Problem,
    model: GrowingNetworks,
    size: Size,
    way: growth.Way,
    optimizer: torch.optim.Optimizer | None = None,
) -> Problem:
    """Append the functions of `size`; return the problem as it sees it now."""
    ahead = _copy(model)
    ahead.functions = extended(model.functions, size, len(model.elements))
    seen = problem.seen_by(ahead)
    shift, scale = scales_of(seen.train.environments, len(model.elements))
    growth.add_functions(model, size, shift, scale, optimizer, into_blocks=way == "channels")
    return seen


def _copy(model: GrowingNetworks) -> GrowingNetworks:
    return networks_from(
        model.elements, model.functions, model.block_inputs(), model.activation, model.weights()
    )
