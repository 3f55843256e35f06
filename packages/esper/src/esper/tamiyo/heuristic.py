"""The heuristic controller: pure functions of what has been measured."""

from __future__ import annotations

from collections.abc import Sequence

from esper.config import GrowthConfig


def is_plateau(losses: Sequence[float], window: int, tolerance: float) -> bool:
    """Say whether the mean of the last `window` losses is hardly below that of those before.

    Hardly: by less than `tolerance`, relative. False while there are fewer than twice as many.
    """
    if len(losses) < 2 * window:
        return False
    last = sum(losses[-window:]) / window
    before = sum(losses[-2 * window : -window]) / window
    return before - last < tolerance * abs(before)


def wants_to_grow(config: GrowthConfig, epoch: int, losses_since_growth: Sequence[float]) -> bool:
    """Say whether it is time, after `epoch` (from 1 on) with these training losses."""
    if config.kind == "none":
        return False
    if config.trigger == "epochs":
        return epoch in config.at_epochs
    return is_plateau(losses_since_growth, config.plateau_epochs, config.plateau_tolerance)


def reward(
    loss_without: float, loss_with: float, parameters: int, host_parameters: int, rent: float
) -> float:
    """Return the counterfactual contribution of a branch minus its parameters' rent.

    `loss_without` and `loss_with` are the validation losses (nats per sample) of the very same
    model with the branch's alpha 0 and 1. `rent` is in nats per doubling of the host: a branch
    with a tenth of the host's parameters pays a tenth of it.
    """
    return (loss_without - loss_with) - rent * parameters / host_parameters
