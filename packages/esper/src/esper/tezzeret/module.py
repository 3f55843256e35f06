"""From a blueprint to a module that computes it, and the weights' way to disk and back."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional

from esper.kasmina.blueprints import SiteShape, UnsuitableError
from esper.tezzeret.ir import (
    INPUT,
    Attention,
    Blueprint,
    BlueprintError,
    Conv2d,
    LayerNorm,
    Linear,
    resolve,
)


class KernelError(ValueError):
    """A kernel that is damaged, fails its checks, or is not for this place; says which."""


class SelfAttention(nn.Module):
    """Multi-head self-attention over (batch, time, features), without dropout."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(features, 3 * features)
        self.leave = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Return what every position takes from all, of the shape of x."""
        parts = self.project(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (batch, heads, time, each)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.leave(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


_POINTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "silu": functional.silu,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
}


class BlueprintModule(nn.Module):
    """The branch g(h) that a blueprint describes, at a site of some shape.

    Node by node, in the order of the blueprint. The last layer of the output is zero.
    Raises UnsuitableError where the blueprint does not fit the site.
    """

    def __init__(self, blueprint: Blueprint, shape: SiteShape, width: int) -> None:
        super().__init__()
        if blueprint.site == "image" and shape.spatial != 2:
            raise UnsuitableError(
                f"the blueprint '{blueprint.name}' needs a Conv2d or BatchNorm2d site"
            )
        if blueprint.site == "sequence" and (shape.axis != -1 or not shape.batch_first):
            raise UnsuitableError(
                f"the blueprint '{blueprint.name}' needs a site with features last, batch first"
            )
        try:
            sizes = resolve(blueprint, shape.features, width)
        except BlueprintError as error:
            raise UnsuitableError(
                f"the blueprint '{blueprint.name}' does not fit: {error}"
            ) from None
        self.axis = shape.axis
        self.sequence = blueprint.site == "sequence"
        self.nodes = nn.ModuleDict()
        self.plan: list[tuple[str, str, tuple[str, ...], float]] = []
        for node in blueprint.nodes:
            before, after = sizes[node.inputs[0]], sizes[node.name]
            made: nn.Module | None
            match node:
                case Linear():
                    made = nn.Linear(before, after, bias=node.bias)
                case Conv2d():
                    made = nn.Conv2d(
                        before,
                        after,
                        node.kernel,
                        padding=node.kernel // 2,
                        groups=before if node.depthwise else 1,
                        bias=node.bias,
                    )
                case Attention():
                    made = SelfAttention(before, node.heads)
                case LayerNorm():
                    made = nn.LayerNorm(before)
                case _:
                    made = None
            if made is not None:
                self.nodes[_key(node.name)] = made
            self.plan.append((node.name, node.op, node.inputs, getattr(node, "factor", 1.0)))
        self.output = blueprint.output
        for parameter in self.last_layer().parameters():
            nn.init.zeros_(parameter)

    def last_layer(self) -> nn.Module:
        """Return the layer that begins at zero."""
        last = self.nodes[_key(self.output)]
        return last.leave if isinstance(last, SelfAttention) else last

    def forward(self, h: Tensor) -> Tensor:
        """Return g(h), of the shape of h."""
        if self.sequence and h.dim() != 3:
            raise UnsuitableError(f"a sequence has three dimensions, not {h.dim()}")
        last = self.axis == -1 or h.dim() == 2
        values = {INPUT: h}
        for name, op, inputs, factor in self.plan:
            x = values[inputs[0]]
            if op in _POINTWISE:
                y = _POINTWISE[op](x)
            elif op in {"linear", "layer_norm"} and not last:
                y = self.nodes[_key(name)](x.movedim(1, -1)).movedim(-1, 1)
            elif op in {"linear", "layer_norm", "conv2d", "attention"}:
                y = self.nodes[_key(name)](x)
            elif op == "mean":
                positions = list(range(1, x.dim() - 1)) if last else list(range(2, x.dim()))
                y = x.mean(positions, keepdim=True) if positions else x
            elif op == "scale":
                y = x * factor
            else:
                y = x
                for other in inputs[1:]:
                    y = y + values[other] if op == "add" else y * values[other]
            values[name] = y
        return values[self.output]


def _key(node: str) -> str:
    """Return a node's name in the ModuleDict, where `keys`, `values`, `half` ... are taken."""
    return f"{node}-" if hasattr(nn.ModuleDict, node) or node == "training" else node


def factory(blueprint: Blueprint) -> functools.partial[BlueprintModule]:
    """Return what Kasmina calls to build a branch: (SiteShape, width) -> module."""
    return functools.partial(BlueprintModule, blueprint)


def build_seeded(blueprint: Blueprint, shape: SiteShape, width: int, seed: int) -> BlueprintModule:
    """Build with weights drawn from `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BlueprintModule(blueprint, shape, width)


def weights_to_bytes(module: nn.Module) -> bytes:
    """Return a module's state as safetensors."""
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()})


def weights_from_bytes(content: bytes, what: str = "weights") -> dict[str, Tensor]:
    """Read safetensors: tensors and nothing else. Raises KernelError if they are damaged."""
    try:
        return load_tensors(content)
    except (SafetensorError, struct.error, ValueError) as error:
        raise KernelError(f"{what} are not safetensors ({error})") from None


def from_weights(
    blueprint: Blueprint,
    shape: SiteShape,
    width: int,
    tensors: dict[str, Tensor],
    what: str = "weights",
) -> BlueprintModule:
    """Build with these weights; none is drawn first, the tensors become the parameters.

    Raises KernelError where names, shapes or types are not the blueprint's, or a value is not
    finite.
    """
    with torch.device("meta"):
        module = BlueprintModule(blueprint, shape, width)
    mine = module.state_dict()
    if mine.keys() != tensors.keys():
        odd = sorted(mine.keys() ^ tensors.keys())
        raise KernelError(f"{what} do not belong to this blueprint: {', '.join(odd[:3])}")
    for name, tensor in sorted(tensors.items()):  # safetensors give them in no fixed order
        if tensor.shape != mine[name].shape or not tensor.is_floating_point():
            raise KernelError(
                f"{what}: '{name}' is {tuple(tensor.shape)} of {tensor.dtype}, not "
                f"{tuple(mine[name].shape)} of floating type"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise KernelError(f"{what}: '{name}' is not finite")
    module.load_state_dict(tensors, assign=True)
    return module
