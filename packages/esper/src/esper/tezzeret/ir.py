"""The blueprint IR: a branch written down as data, from a fixed list of operations.

A blueprint is a directed acyclic graph. Each node names the nodes it reads, all of them before
it; `input` is the activation h at the site. It says nothing that runs: no code, no file, no
name that is looked up. What it may say is checked here, on the data alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

INPUT = "input"
MAX_NODES = 64
MAX_SIZE = 16384

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
_Title = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
_SIZE = re.compile(r"^(?:(\d{1,4})\*)?(features|width)(?:/([1-9]\d{0,3}))?$")
Size = (
    Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]
    | Annotated[str, Field(pattern=_SIZE.pattern)]
)
_One = Annotated[tuple[_Name], Field(min_length=1, max_length=1)]
_Many = Annotated[tuple[_Name, ...], Field(min_length=2, max_length=8)]


class BlueprintError(ValueError):
    """A blueprint that is refused: one line for each problem, with the key."""


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: _Name


class Linear(_Node):
    """features -> `out`, the same at every position."""

    op: Literal["linear"]
    inputs: _One
    out: Size
    bias: bool = True


class Conv2d(_Node):
    """A convolution that keeps height and width; `kernel` is odd, `depthwise` keeps channels."""

    op: Literal["conv2d"]
    inputs: _One
    out: Size
    kernel: Literal[1, 3, 5, 7] = 3
    depthwise: bool = False
    bias: bool = True


class Attention(_Node):
    """Self-attention over a sequence, with its four projections."""

    op: Literal["attention"]
    inputs: _One
    heads: Annotated[int, Field(ge=1, le=64)] = 4


class Pointwise(_Node):
    """An activation, element by element; smooth but for relu."""

    op: Literal["gelu", "silu", "relu", "tanh", "sigmoid", "softplus"]
    inputs: _One


class LayerNorm(_Node):
    """Mean 0 and variance 1 over the features, with a scale and a shift that are learnt."""

    op: Literal["layer_norm"]
    inputs: _One


class Mean(_Node):
    """The mean over all positions (pixels, tokens), one for each sample and feature."""

    op: Literal["mean"]
    inputs: _One


class Scale(_Node):
    """A constant factor."""

    op: Literal["scale"]
    inputs: _One
    factor: Annotated[float, Field(ge=-1e3, le=1e3)]


class Combine(_Node):
    """The sum or the product of nodes with equal features; a mean is spread over positions."""

    op: Literal["add", "mul"]
    inputs: _Many


Node = Annotated[
    Linear | Conv2d | Attention | Pointwise | LayerNorm | Mean | Scale | Combine,
    Field(discriminator="op"),
]


class Blueprint(BaseModel):
    """A branch g(h) as data.

    `site` says where it grows: `any` (every position alike), `image` (a Conv2d or BatchNorm2d)
    or `sequence` (attention, Linear, LayerNorm). Sizes are numbers, or `features` (of the site)
    and `width` (of the branch), with a factor: `2*width`, `features/4`. The node `output` must be
    a linear, conv2d or attention to `features`; its last weights begin at zero, so that g(h) = 0
    when the branch comes and the function of the network is what it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ir: Literal[1] = 1
    name: _Title
    site: Literal["any", "image", "sequence"] = "any"
    description: Annotated[str, Field(max_length=2000)] = ""
    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=MAX_NODES)]
    output: _Name

    @model_validator(mode="after")
    def _sound(self) -> Blueprint:
        known: set[str] = {INPUT}
        read: set[str] = set()
        for node in self.nodes:
            if node.name in known:
                raise ValueError(f"node '{node.name}' is there twice")
            for source in node.inputs:
                if source not in known:
                    raise ValueError(
                        f"node '{node.name}' reads '{source}', which no node before is"
                    )
            needed = {"conv2d": "image", "attention": "sequence"}.get(node.op)
            if needed is not None and self.site != needed:
                raise ValueError(f"node '{node.name}': {node.op} needs site '{needed}'")
            known.add(node.name)
            read.update(node.inputs)
        unread = known - read - {self.output, INPUT}
        if unread:
            raise ValueError(f"nothing reads node {', '.join(sorted(map(repr, unread)))}")
        last = next((n for n in self.nodes if n.name == self.output), None)
        if last is None:
            raise ValueError(f"output '{self.output}' is no node")
        if self.output in read:
            raise ValueError(f"a node reads the output '{self.output}'")
        if not isinstance(last, Attention) and getattr(last, "out", None) != "features":
            raise ValueError(
                f"output '{self.output}' must be a linear or conv2d with out 'features', or an "
                "attention: its weights begin at zero"
            )
        resolve(self, features=64, width=64)
        return self


def size_of(size: int | str, features: int, width: int) -> int:
    """Return a size as a number. Raises BlueprintError if it is none from 1 to MAX_SIZE."""
    if isinstance(size, int):
        return size
    match = _SIZE.match(size)
    assert match is not None  # noqa: S101 - the model's pattern
    factor, which, divisor = match.groups()
    base = features if which == "features" else width
    value, rest = divmod(base * int(factor or 1), int(divisor or 1))
    if rest or not 1 <= value <= MAX_SIZE:
        raise BlueprintError(
            f"size '{size}' with {features} features and width {width} is no whole number from 1 "
            f"to {MAX_SIZE}"
        )
    return value


def resolve(blueprint: Blueprint, features: int, width: int) -> dict[str, int]:
    """Return how many features every node puts out at a site with `features`.

    Raises BlueprintError, naming the node, where sizes do not fit.
    """
    sizes = {INPUT: features}
    for node in blueprint.nodes:
        taken = [sizes[source] for source in node.inputs]
        try:
            match node:
                case Linear():
                    sizes[node.name] = size_of(node.out, features, width)
                case Conv2d():
                    sizes[node.name] = size_of(node.out, features, width)
                    if node.depthwise and sizes[node.name] != taken[0]:
                        raise BlueprintError(
                            f"a depthwise conv2d keeps its {taken[0]} channels, not "
                            f"{sizes[node.name]}"
                        )
                case Attention():
                    if taken[0] % node.heads:
                        raise BlueprintError(
                            f"{taken[0]} features do not part into {node.heads} heads"
                        )
                    sizes[node.name] = taken[0]
                case Combine() if len(set(taken)) > 1:
                    raise BlueprintError(f"{node.op} of {' and '.join(map(str, taken))} features")
                case _:
                    sizes[node.name] = taken[0]
        except BlueprintError as error:
            raise BlueprintError(f"node '{node.name}': {error}") from None
    if sizes[blueprint.output] != features:
        raise BlueprintError(
            f"output '{blueprint.output}' has {sizes[blueprint.output]} features, not {features}"
        )
    return sizes


def parse_blueprint(value: Any, file: str = "<blueprint>") -> Blueprint:
    """Check plain values; `file` is named in messages. Raises BlueprintError."""
    try:
        return Blueprint.model_validate(value)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])
            what = str(item["msg"]).removeprefix("Value error, ")
            lines.append(f"{file}: key '{key}': {what}" if key else f"{file}: {what}")
        raise BlueprintError("\n".join(lines)) from None


def load_blueprint(path: Path) -> Blueprint:
    """Read a blueprint from a JSON file. Raises BlueprintError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BlueprintError(f"{path}: cannot be read ({error})") from None
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise BlueprintError(f"{path}:{line}: not JSON ({error})") from None
    return parse_blueprint(value, str(path))


def canonical(blueprint: Blueprint) -> str:
    """Return the one JSON text of what a blueprint computes: no name, no description."""
    value = blueprint.model_dump(mode="json", exclude={"name", "description"})
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def blueprint_id(blueprint: Blueprint) -> str:
    """Return the sha256 of the canonical text: equal branches have equal ids."""
    return hashlib.sha256(canonical(blueprint).encode()).hexdigest()
