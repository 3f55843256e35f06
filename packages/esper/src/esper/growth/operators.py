"""The operators by name, and one call for the whole of propose -> score -> init -> insert."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esper.growth.base import Operator, Proposal
from esper.growth.firefly import Firefly
from esper.growth.gradmax import GradMax
from esper.growth.insert import Newborn, insert
from esper.growth.junction import junctions
from esper.growth.net2wider import Net2Wider
from esper.growth.pursuit import Pursuit
from esper.growth.random_control import RandomControl
from esper.growth.statistics import collect
from esper.growth.tiny import Tiny

WIDENING: dict[str, Callable[[], Operator]] = {
    "net2wider": Net2Wider,
    "gradmax": GradMax,
    "firefly": Firefly,
    "tiny": Tiny,
    "pursuit": Pursuit,
    "random": RandomControl,
}


@dataclass(frozen=True)
class Widened:
    """What was done: the proposal, its score, how many neurons it came to, the new entries."""

    proposal: Proposal
    score: float
    count: int
    newborns: list[Newborn]


def propose(model: nn.Module, operator: Operator, counts: dict[str, int]) -> list[Proposal]:
    """Return a proposal for every junction whose first layer is named in `counts` (> 0)."""
    return [
        Proposal(operator.name, junction, counts[junction.first])
        for junction in junctions(model)
        if counts.get(junction.first, 0) > 0
    ]


def grow(
    model: nn.Module,
    operator: Operator,
    proposals: list[Proposal],
    loss: Callable[[], Tensor],
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer | None = None,
) -> Widened:
    """Score `proposals` on the batch behind `loss` and carry out the best.

    Those that the operator cannot score (`pursuit` at convolutions, say) are passed over. Raises
    ValueError if none is left.
    """
    best: tuple[float, Proposal] | None = None
    refusal: ValueError | None = None
    for proposal in proposals:
        statistics = collect(model, proposal.junction, loss)
        try:
            value = operator.score(statistics, proposal.count, generator)
        except ValueError as error:
            refusal = error
            continue
        if best is None or value > best[0]:
            best = (value, proposal)
    if best is None:
        raise refusal or ValueError("there is no junction to grow at")
    score, chosen = best
    neurons = operator.init(
        model.get_submodule(chosen.junction.first),
        model.get_submodule(chosen.junction.second),
        collect(model, chosen.junction, loss),
        chosen.count,
        generator,
    )
    newborns = insert(model, chosen.junction, neurons, optimizer)
    return Widened(chosen, score, len(neurons.bias), newborns)
