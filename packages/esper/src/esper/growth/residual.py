"""Residual block: depth instead of width, as a seed's branch with a zero last layer.

The function is preserved as in ResNet's zero-initialised residual (Goyal et al.,
arXiv:1706.02677, section 5.1) and Net2DeeperNet's identity (arXiv:1511.05641).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esper.kasmina import MorphableModel, UnsuitableError
from esper.kasmina.blueprints import BLUEPRINTS, build
from esper.lifecycle import State


@dataclass(frozen=True)
class BlockProposal:
    """A blueprint of some width at a dormant site."""

    site: str
    blueprint: str
    width: int


class ResidualBlock:
    """Grows a branch beside a layer. Its `insert` is `MorphableModel.germinate`."""

    name = "residual"
    preserves_function = True

    def propose(
        self, model: MorphableModel, width: int, blueprints: Sequence[str] = tuple(BLUEPRINTS)
    ) -> list[BlockProposal]:
        """Return every pair of a dormant site and a blueprint that fits it."""
        found = []
        for seed in model.lives():
            if seed.state is not State.DORMANT:
                continue
            host = model.host.get_submodule(seed.site)
            for blueprint in blueprints:
                try:
                    build(blueprint, host, 1, torch.Generator())
                except UnsuitableError:
                    continue
                found.append(BlockProposal(seed.site, blueprint, width))
        return found

    def score(
        self,
        model: MorphableModel,
        proposal: BlockProposal,
        loss: Callable[[], Tensor],
        generator: torch.Generator,
    ) -> float:
        """Return the gradient norm of the zero last layer: the loss's first-order fall.

        The branch is built on trial with weights from `generator`, tried in a shadow pass,
        and taken away again.
        """
        layer = model.seed_at(proposal.site)
        before = layer.seed
        try:
            parameters = model.germinate(
                proposal.site, proposal.blueprint, width=proposal.width, generator=generator
            )
            model.shadow_backward(proposal.site, loss)
            return float(
                torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
            )
        finally:
            layer.detach_branch()
            layer.become(before)
