"""How long it takes to bring a kernel into a network, three ways.

Usage:  python benchmarks/esper/kernels.py --output docs/data/esper-kernels.json

    swap        a branch in memory takes the place of another at a live seed
    load        from the IR (text) and the weights (safetensors, in memory) to a module that runs
    aot         from a compiled package on disk to a function that runs (needs g++)

Medians and 10 and 90 % quantiles over repeats, one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from esper import wrap
from esper.files import write_whole
from esper.kasmina.blueprints import build
from esper.lifecycle import Event
from esper.tezzeret.aot import compile_inference, compiler, load_inference
from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.forge import Target, instruction_set, torch_version
from esper.tezzeret.ir import Blueprint
from esper.tezzeret.module import (
    build_seeded,
    from_weights,
    weights_from_bytes,
    weights_to_bytes,
)


def times(call: Callable[[], object], repeats: int) -> dict[str, Any]:
    """Return figures in milliseconds, after three calls unmeasured."""
    for _ in range(3):
        call()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - begun) / 1e6)
    deciles = statistics.quantiles(found, n=10)
    return {
        "median_ms": statistics.median(found),
        "p10_ms": deciles[0],
        "p90_ms": deciles[-1],
        "repeats": repeats,
    }


def swap(repeats: int) -> dict[str, Any]:
    """Exchange the branch of a grafted seed between two that are in memory."""
    host = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    model = wrap(host, ["0"])
    generator = torch.Generator().manual_seed(0)
    model.germinate("0", "bottleneck", width=16, generator=generator)
    layer = model.seed_at("0")
    layer.on(Event.TRAINED)
    branches = [build("bottleneck", host[0], 16, generator) for _ in range(2)]
    for branch in branches:
        nn.init.normal_(branch.leave.weight)
    x = torch.randn(4, 64)
    turn = [0]

    def exchange() -> None:
        turn[0] ^= 1
        layer.branch = branches[turn[0]]

    found = times(exchange, repeats)
    layer.alpha.fill_(1.0)
    exchange()
    first = model(x)
    exchange()
    assert not torch.equal(first, model(x)), "the swap changed nothing"
    return found


def load(name: str, target: Target, repeats: int) -> dict[str, Any]:
    """Make a module from the IR's text and the weights' bytes."""
    blueprint, shape = BUILTIN[name], target.shape()
    text = blueprint.model_dump_json()
    content = weights_to_bytes(build_seeded(blueprint, shape, target.width, 0))

    def whole() -> nn.Module:
        ir = Blueprint.model_validate_json(text)
        return from_weights(ir, shape, target.width, weights_from_bytes(content))

    return {**times(whole, repeats), "weights_bytes": len(content)}


def aot(repeats: int) -> dict[str, Any] | None:
    """Load a compiled network of 64-256-256-10."""
    if compiler() is None:
        return None
    network = nn.Sequential(
        nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10)
    )
    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        compile_inference(network, torch.randn(8, 64), Path(name))
        compiled = time.perf_counter() - begun
        return {**times(lambda: load_inference(Path(name)), repeats), "compile_s": compiled}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    image = Target(features=64, width=32, axis=1, spatial=2)
    found = {
        "swap": swap(2000),
        "load mlp": load("mlp", Target(features=256, width=64), 300),
        "load gated": load("gated", Target(features=256, width=64), 300),
        "load squeeze": load("squeeze", image, 300),
        "aot": aot(30),
    }
    goals = {"swap": 0.010, "load mlp": 5, "load gated": 5, "load squeeze": 5, "aot": 25}
    for name, figures in found.items():
        if figures is not None:
            print(f"{name:13} {figures['median_ms']:9.4f} ms (goal: < {goals[name]} ms)")
    told = {
        "command": "python benchmarks/esper/kernels.py",
        "torch": torch_version(),
        "isa": instruction_set(),
        "goals_ms": goals,
        "results": found,
    }
    write_whole(options.output, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
