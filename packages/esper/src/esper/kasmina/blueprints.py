"""The branches g that can grow at a site, each with its last layer zero, so that g(h) = 0.

A site is described by the shape of what its host module puts out: how many features, and on
which axis they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class UnsuitableError(ValueError):
    """A blueprint that cannot grow at this kind of site, or a module that can hold no seed."""


@dataclass(frozen=True)
class SiteShape:
    """What a host module puts out.

    `features`: their number; `axis`: where they lie (1: channels first, -1: last);
    `spatial`: dimensions of an image behind the channels (0 or 2); `heads`: of an attention
    module, else 0; `batch_first`: whether a sequence is (batch, time, features).
    """

    features: int
    axis: int = -1
    spatial: int = 0
    heads: int = 0
    batch_first: bool = True


def site_shape(host: nn.Module) -> SiteShape:
    """Describe a Linear, Conv2d, attention, LayerNorm or BatchNorm module.

    Raises UnsuitableError for any other.
    """
    match host:
        case nn.Linear():
            return SiteShape(host.out_features)
        case nn.Conv2d():
            return SiteShape(host.out_channels, axis=1, spatial=2)
        case nn.MultiheadAttention():
            return SiteShape(host.embed_dim, heads=host.num_heads, batch_first=host.batch_first)
        case nn.LayerNorm() if len(host.normalized_shape) == 1:
            return SiteShape(host.normalized_shape[0])
        case nn.BatchNorm1d():
            return SiteShape(host.num_features, axis=1)
        case nn.BatchNorm2d():
            return SiteShape(host.num_features, axis=1, spatial=2)
        case _:
            raise UnsuitableError(
                f"no seed can grow at a {type(host).__name__}; sites are Linear, Conv2d, "
                "MultiheadAttention, LayerNorm (over one axis), BatchNorm1d and BatchNorm2d"
            )


class Bottleneck(nn.Module):
    """features -> width -> features, the same at every position: W2 act(W1 h + b1) + b2."""

    def __init__(self, shape: SiteShape, width: int) -> None:
        super().__init__()
        self.axis = shape.axis
        self.enter = nn.Linear(shape.features, width)
        self.act = nn.GELU()
        self.leave = nn.Linear(width, shape.features)
        _zero(self.leave)

    def forward(self, h: Tensor) -> Tensor:
        """Return g(h), of the shape of h."""
        if self.axis == -1 or h.dim() == 2:
            return self.leave(self.act(self.enter(h)))  # type: ignore[no-any-return]
        moved: Tensor = self.leave(self.act(self.enter(h.movedim(1, -1))))
        return moved.movedim(-1, 1)


class ConvBlock(nn.Module):
    """A 3 x 3 convolution to `width` channels, then 1 x 1 back; for images."""

    def __init__(self, shape: SiteShape, width: int) -> None:
        super().__init__()
        if shape.spatial != 2:
            raise UnsuitableError("the blueprint 'conv' needs a Conv2d or BatchNorm2d site")
        self.enter = nn.Conv2d(shape.features, width, 3, padding=1)
        self.act = nn.GELU()
        self.leave = nn.Conv2d(width, shape.features, 1)
        _zero(self.leave)

    def forward(self, h: Tensor) -> Tensor:
        """Return g(h), of the shape of h."""
        return self.leave(self.act(self.enter(h)))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Self-attention over a sequence behind a LayerNorm; the output projection is zero.

    `width` is not used: the number of parameters follows from the features.
    """

    def __init__(self, shape: SiteShape, width: int) -> None:
        super().__init__()
        if shape.axis != -1:
            raise UnsuitableError("the blueprint 'attention' needs a site with features last")
        heads = shape.heads or (4 if shape.features % 4 == 0 else 1)
        self.norm = nn.LayerNorm(shape.features)
        self.attend = nn.MultiheadAttention(shape.features, heads, batch_first=shape.batch_first)
        _zero(self.attend.out_proj)

    def forward(self, h: Tensor) -> Tensor:
        """Return g(h), of the shape of h (a sequence: three dimensions)."""
        if h.dim() != 3:
            raise UnsuitableError(
                f"the blueprint 'attention' needs a sequence, not {h.dim()} dimensions"
            )
        x = self.norm(h)
        return self.attend(x, x, x, need_weights=False)[0]  # type: ignore[no-any-return]


BLUEPRINTS: dict[str, Callable[[SiteShape, int], nn.Module]] = {
    "bottleneck": Bottleneck,
    "conv": ConvBlock,
    "attention": AttentionBlock,
}


def build(blueprint: str, host: nn.Module, width: int, generator: torch.Generator) -> nn.Module:
    """Build a branch for `host`, on its device and in its floating type.

    The weights are drawn from `generator` alone; PyTorch's global generator is left as it was.
    Raises UnsuitableError where blueprint and host do not fit.
    """
    if blueprint not in BLUEPRINTS:
        raise UnsuitableError(f"no blueprint {blueprint!r}; choose one of {', '.join(BLUEPRINTS)}")
    if width < 1:
        raise UnsuitableError(f"the width of a branch must be at least 1, not {width}")
    shape = site_shape(host)
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        branch = BLUEPRINTS[blueprint](shape, width)
    like = next((p for p in host.parameters() if p.is_floating_point()), None)
    return branch if like is None else branch.to(device=like.device, dtype=like.dtype)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters(recurse=False):
        nn.init.zeros_(parameter)
