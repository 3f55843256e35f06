"""Exported programs: made by torch.export, and read back without unpickling anything.

What torch's own loader does with an archive (torch 2.13, `torch/export/pt2_archive/_package.py`
and `torch/_export/serde/serialize.py`): it unpickles weights and constants that are marked
`use_pickle`, opaque and custom objects, and the sample inputs, the last by a fallback to
`weights_only=False`; symbolic sizes go through sympy's parser, and operators are found by the
name that the file gives. So an archive from outside is code. The rule here:

- A program holds no weights, constants and sample inputs: it is exported as a function of the
  activation and the weights, and weights are kept as safetensors.
- What is stored is the graph alone, as JSON. Before torch sees it, every operator must be on the
  list below, every kind of argument be plain, every symbolic size plain arithmetic, and the
  archive that torch reads is packed here, anew, with empty weights, constants and samples.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from esper.kasmina.blueprints import SiteShape
from esper.tezzeret.module import BlueprintModule, KernelError

OPERATORS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "add.Tensor", "arange.default", "chunk.default", "clone.default", "contiguous.default",
        "conv2d.default", "conv2d.padding", "expand.default", "flatten.using_ints", "gelu.default",
        "layer_norm.default", "linear.default", "mean.dim", "movedim.int", "movedim.intlist",
        "mul.Scalar", "mul.Tensor", "permute.default", "relu.default", "reshape.default",
        "scaled_dot_product_attention.default", "select.int", "sigmoid.default", "silu.default",
        "softplus.default", "split.Tensor", "sym_size.int", "tanh.default", "transpose.int",
        "unbind.int", "unflatten.int", "view.default",
    )
) | {"_operator.getitem", "_operator.mul", "_operator.add", "_operator.floordiv"}  # fmt: skip
"""Everything that a program may call."""

_ARGUMENTS = frozenset(
    {
        "as_none", "as_tensor", "as_tensors", "as_int", "as_ints", "as_float", "as_floats",
        "as_bool", "as_bools", "as_string", "as_strings", "as_sym_int", "as_sym_ints", "as_name",
        "as_scalar_type", "as_memory_format", "as_layout", "as_device", "as_nested_tensors",
        "as_optional_tensor", "as_optional_tensors", "as_expr",
    }
)  # fmt: skip
_SYMBOL = re.compile(r"^[su]\d{1,4}$")
_EXPRESSION = re.compile(  # sums and products of sizes and whole numbers, as sympy writes them
    r"^(?:Symbol\('[su]\d{1,4}', positive=True, integer=True\)"
    r"|Integer\(-?\d{1,9}\)|Mul\(|Add\(|\)|, ){1,60}$"
)
_FORMAT = "esper-program-1"
_MAX_BYTES = 8 * 2**20


class _Functional(nn.Module):
    """A branch as a function of (h, weights): it holds no parameter of its own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.hidden = [module]  # a list, so that it is no submodule

    def forward(self, h: Tensor, weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(self.hidden[0], weights, (h,))  # type: ignore[no-any-return]


def example(
    shape: SiteShape, blueprint_site: str, batch: int, generator: torch.Generator
) -> Tensor:
    """Return an activation as it might be at the site; sizes that no constant is equal to."""
    if shape.spatial == 2:
        size: tuple[int, ...] = (batch, shape.features, 9, 7)
    elif blueprint_site == "sequence" or shape.heads:
        size = (batch, 11, shape.features)
    else:
        size = (batch, shape.features)
    return torch.randn(size, generator=generator)


def export_program(module: BlueprintModule, h: Tensor) -> torch.export.ExportedProgram:
    """Export g(h) with a dynamic batch (and height and width, or length), weights as inputs."""
    dim = torch.export.Dim
    dynamic = {0: dim("batch", min=1, max=2**24)}
    for axis, name in ((2, "height"), (3, "width")) if h.dim() == 4 else ((1, "length"),):
        if h.dim() > 2:
            dynamic[axis] = dim(name, min=1, max=2**16)
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    return torch.export.export(
        _Functional(module.eval()),
        (h, weights),
        dynamic_shapes=(dynamic, dict.fromkeys(weights)),
    )


def to_json(program: torch.export.ExportedProgram) -> bytes:
    """Return the graph of a program that holds no tensors, without paths of this machine.

    Raises KernelError if it holds any, or does what a program from outside may not.
    """
    if program.state_dict or program.constants:
        raise KernelError("the program holds tensors; weights belong into safetensors")
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    program._example_inputs = None
    stream = io.BytesIO()
    torch.export.save(program, stream)
    with zipfile.ZipFile(stream) as archive:
        name = next(n for n in archive.namelist() if n.endswith("models/model.json"))
        graph = json.loads(archive.read(name))
    for node in graph["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    _refuse_what_is_not_plain(graph)
    return json.dumps({"format": _FORMAT, "program": graph}, separators=(",", ":")).encode()


def from_json(content: bytes) -> torch.export.ExportedProgram:
    """Read a program. Raises KernelError if it is damaged, or more than a plain graph."""
    if len(content) > _MAX_BYTES:
        raise KernelError(f"the program is larger than {_MAX_BYTES // 2**20} MiB")
    try:
        value = json.loads(content)
        if value["format"] != _FORMAT:
            raise KernelError(f"the program's format is {value['format']!r}, not {_FORMAT!r}")
        graph = value["program"]
        _refuse_what_is_not_plain(graph)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(f"the program is damaged ({error!r})") from None
    try:
        return torch.export.load(io.BytesIO(_archive(json.dumps(graph))))
    except Exception as error:  # torch raises whatever it stumbles over
        raise KernelError(
            f"the program cannot be read by torch {torch.__version__}: {error}"
        ) from None


def bind(
    program: torch.export.ExportedProgram, weights: dict[str, Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return g(h) with these weights, whatever their order (safetensors have none).

    A program takes its weights in the order it was exported with, not by name. Raises KernelError
    where the names are not the program's.
    """
    positional = program.call_spec.in_spec.child(0)
    names = list(positional.child(1).context)
    if set(names) != set(weights):
        odd = sorted(set(names) ^ set(weights))
        raise KernelError(f"the weights do not belong to this program: {', '.join(odd[:3])}")
    ordered = {name: weights[name] for name in names}
    run = program.module()
    return lambda h: run(h, ordered)


def _archive(graph: str) -> bytes:
    """Pack a graph as torch's archive, with no tensor and no sample in it."""
    stream = io.BytesIO()
    members = {
        "data/weights/model_weights_config.json": '{"config": {}}',
        "data/constants/model_constants_config.json": '{"config": {}}',
        "models/model.json": graph,
        "data/sample_inputs/model.pt": "",
        "archive_format": "pt2",
        "archive_version": "0",
        ".data/version": "6\n",
        "byteorder": "little",
    }
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"archive/{name}", text)
    return stream.getvalue()


def _refuse_what_is_not_plain(graph: dict[str, Any]) -> None:
    for node in graph["graph_module"]["graph"]["nodes"]:
        if node["target"] not in OPERATORS:
            raise KernelError(f"the program calls {node['target']!r}, which is not allowed")
        if node["metadata"]:
            raise KernelError("the program's nodes carry metadata")
    if graph.get("guards_code"):
        raise KernelError("the program carries guards as code")
    for key, value in _pairs(graph):
        if key.startswith("as_") and key not in _ARGUMENTS:
            raise KernelError(f"the program has an argument of kind {key!r}, which is not allowed")
        if key == "expr_str" and not (isinstance(value, str) and _EXPRESSION.match(value)):
            raise KernelError(f"the program has the size {value!r}, which is not plain arithmetic")
    for name in graph["range_constraints"]:
        if not _SYMBOL.match(name):
            raise KernelError(f"the program bounds {name!r}, which is not plain arithmetic")


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    todo = [value]
    while todo:
        here = todo.pop()
        if isinstance(here, dict):
            for key, inner in here.items():
                yield key, inner
                todo.append(inner)
        elif isinstance(here, list):
            todo += here
