"""How long it takes to bring a kernel into a network, three ways.

Usage:  python -m benchmarks.esper.kernels [--repeats 300] [--output benchmarks/esper/kernels.json]

    swap        a branch in memory takes the place of another at a live seed
    load        from the IR (text) and the weights (safetensors, in memory) to a module that runs
    aot         from a compiled network on disk to a function that runs (needs g++); each time a
                copy of its own, as a library that is open already is not linked again. Its parts:
                `digests` reads and compares, `torch` links and makes the function

Medians and 10 and 90 % quantiles over repeats, one thread; of the CPU time that the call took and
of the wall clock. They agree on a machine that does nothing else; where others wait for the same
cores, the CPU time is what the call costs.
"""

from __future__ import annotations

import argparse
import json
import shutil
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
from esper.tezzeret.aot import CODE, compile_inference, compiler, digests, link, load_inference
from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.forge import Target, instruction_set, torch_version
from esper.tezzeret.ir import Blueprint
from esper.tezzeret.module import (
    build_seeded,
    from_weights,
    weights_from_bytes,
    weights_to_bytes,
)


def times(
    call: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Return figures in milliseconds, after three calls unmeasured; `before` is not timed."""
    found = []
    for n in range(repeats + 3):
        before()
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        call()
        cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
        if n >= 3:
            found.append((cpu / 1e6, wall / 1e6))
    told: dict[str, Any] = {"repeats": repeats}
    for name, values in zip(("cpu", "wall"), zip(*found, strict=True), strict=True):
        deciles = statistics.quantiles(values, n=10)
        told[f"{name}_median_ms"] = statistics.median(values)
        told[f"{name}_p10_ms"], told[f"{name}_p90_ms"] = deciles[0], deciles[-1]
    return told


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


def aot(repeats: int) -> dict[str, dict[str, Any]]:
    """Load a compiled network of 64-256-256-10; whole, and its two parts."""
    if compiler() is None:
        return {}
    network = nn.Sequential(
        nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10)
    )
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "made"
        begun = time.perf_counter()
        compile_inference(network, torch.randn(8, 64), made)
        compiled = time.perf_counter() - begun
        copies = [Path(name) / "0"]

        def anew() -> None:
            shutil.rmtree(copies[-1], ignore_errors=True)
            copies.append(Path(name) / str(len(copies)))
            shutil.copytree(made, copies[-1])

        return {
            "aot": {
                **times(lambda: load_inference(copies[-1]), repeats, anew),
                "compile_s": compiled,
            },
            "aot digests": times(lambda: digests(copies[-1] / CODE), repeats, anew),
            "aot torch": times(lambda: link(copies[-1] / CODE), repeats, anew),
        }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    image = Target(features=64, width=32, axis=1, spatial=2)
    repeats = options.repeats
    found = {
        "swap": swap(10 * repeats),
        "load mlp": load("mlp", Target(features=256, width=64), repeats),
        "load gated": load("gated", Target(features=256, width=64), repeats),
        "load squeeze": load("squeeze", image, repeats),
        **aot(repeats),
    }
    goals = {"swap": 0.010, "load mlp": 5, "load gated": 5, "load squeeze": 5, "aot": 25}
    for name, figures in found.items():
        goal = f" (goal: < {goals[name]} ms)" if name in goals else ""
        print(
            f"{name:13} CPU {figures['cpu_median_ms']:9.4f} ms, wall clock "
            f"{figures['wall_median_ms']:9.4f} ms{goal}"
        )
    told = {
        "command": f"python -m benchmarks.esper.kernels --repeats {repeats}",
        "torch": torch_version(),
        "isa": instruction_set(),
        "goals_ms": goals,
        "results": found,
    }
    write_whole(options.output, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
