"""One seed in the forward pass: y = h + alpha * g(h)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from esper.lifecycle import ON_PATH, WITH_BRANCH, Event, Seed, State


class KasminaLayer(nn.Module):
    """The seed at one site.

    The host module stays where it is in its model, under its own name; this layer sees its
    output through a forward hook, which is there only while the seed has a branch. So no host
    parameter is wrapped, renamed or copied, and a dormant seed holds no parameter and costs the
    forward pass nothing.

    ========================  =========================================================
    state                     what the site puts out
    ========================  =========================================================
    no branch, or TRAINING    h, the host's own output, untouched
    GRAFTING and later        h + alpha * g(h); gradients reach the host through both terms
    shadow pass (TRAINING)    s + g(s) with s = h.detach(): the seed learns on the true loss,
                              and nothing reaches the host above the site
    ========================  =========================================================
    """

    alpha: Tensor
    branch: nn.Module | None

    def __init__(self, site: str, host: nn.Module) -> None:
        super().__init__()
        self.seed = Seed(site)
        self._register = host.register_forward_hook  # a method: the host is no part of the seed
        self._hook: RemovableHandle | None = None
        self.width = 0
        self.branch = None
        self.shadowing = False
        self.on_path = False

    def attach(self, branch: nn.Module, width: int) -> None:
        """Give the seed its branch, with alpha 0; `width` is what it was built with."""
        like = next(branch.parameters())
        self.unplug()
        self._hook = self._register(self._follow)
        # torch.compile does not look at hooks again: without this it would run on without ours
        torch.compiler.reset()
        self.branch = branch
        self.width = width
        self.register_buffer("alpha", torch.zeros((), device=like.device))

    def detach_branch(self) -> None:
        """Take the branch away; the site is as it was before germination."""
        self.unplug()
        self.branch = None
        self.width = 0
        self.on_path = False
        if "alpha" in self._buffers:
            del self.alpha

    def unplug(self) -> None:
        """Leave the host's output alone from now on."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def become(self, seed: Seed) -> None:
        """Take on a state; the branch goes when the state holds none."""
        self.seed = seed
        self.on_path = seed.state in ON_PATH
        if seed.state not in WITH_BRANCH and seed.state is not State.LOADING:
            self.detach_branch()

    def on(self, event: Event, *, blueprint: str | None = None, embargo: int = 0) -> Seed:
        """Let an event happen to the seed (see `Seed.on`) and return what it became.

        Entering GRAFTING sets alpha to 0, reaching STABILIZATION sets it to 1.
        """
        after = self.seed.on(event, blueprint=blueprint, embargo=embargo)
        if after.state is State.GRAFTING:
            self.alpha.fill_(0.0)
        elif after.state is State.STABILIZATION:
            self.alpha.fill_(1.0)
        self.become(after)
        return after

    def forward(self, output: Any) -> Any:
        """Return what the site puts out where the host puts out `output`.

        That is a tensor, or a tuple of which the first item is meant (attention).
        """
        if self.branch is None or not (self.on_path or self.shadowing):
            return output
        h: Tensor = output[0] if isinstance(output, tuple) else output
        if self.shadowing:
            h = h.detach()
            y = h + self.branch(h)
        else:
            y = h + self.alpha * self.branch(h)
        return (y, *output[1:]) if isinstance(output, tuple) else y

    def _follow(self, host: nn.Module, inputs: Any, output: Any) -> Any:
        return self(output)

    def extra_repr(self) -> str:
        """Say where, what and in which state."""
        return f"site={self.seed.site}, state={self.seed.state}, blueprint={self.seed.blueprint}"
