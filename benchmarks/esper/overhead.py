"""What a dormant seed costs, and telemetry: training steps of one model bare, wrapped, and watched.

Usage:  python -m benchmarks.esper.overhead [--pairs 3000] [--output benchmarks/esper/overhead.json]

Batch 64, one thread, CPU time of the process; single steps of the four alternate, in an order
drawn anew for each round, so that what else the machine does falls on all alike. All are the same
model with the same weights in the same memory, called as it is or through what `wrap` returned: no
two copies of a model are compared. A fourth, bare once more, is the control: what it differs from
the first by is the measurement's own error. Whatever else the machine does can only lengthen a
step, so each kind is told by the mean of its fastest quarter; intervals are by bootstrap over
rounds. Every site that can hold a seed holds one. Of telemetry: what a step that is watched costs
more than a wrapped one, over the steps between two of them (training.telemetry_steps, 50 by
default).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import esper
from esper.config import TrainingConfig
from esper.files import write_whole
from esper.kasmina.telemetry import watching

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp 64-256-256-10": (
        lambda: nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        ),
        (64,),
    ),
    "cnn 3-16-32 with BatchNorm, 32 x 32": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        ),
        (3, 32, 32),
    ),
}


BARE, CONTROL, WRAPPED, WATCHED = range(4)


def one_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    watched: esper.MorphableModel | None,
) -> float:
    """Return the CPU seconds of a training step."""
    began = time.process_time()
    with watching(watched) if watched is not None else nullcontext():
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
    optimizer.step()
    return time.process_time() - began


def measure(name: str, pairs: int) -> dict[str, Any]:
    """Return the step time bare and wrapped, and the overheads with their intervals."""
    make, shape = MODELS[name]
    x, y = torch.randn(64, *shape), torch.randint(10, (64,))
    torch.manual_seed(0)
    bare = make()
    wrapped = esper.wrap(bare)
    optimizer = torch.optim.Adam(bare.parameters(), lr=1e-4)

    def step(which: int) -> float:
        model = bare if which <= CONTROL else wrapped
        return one_step(model, optimizer, x, y, wrapped if which == WATCHED else None)

    for _ in range(5):
        for which in range(4):
            step(which)
    rng = np.random.default_rng(0)
    times = np.empty((pairs, 4))
    for pair in range(pairs):
        for which in rng.permutation(4):
            times[pair, which] = step(int(which))
    found = _fast(times)
    rows = rng.integers(pairs, size=(1000, pairs))
    drawn = np.array([_fast(times[row]) for row in rows])
    every = TrainingConfig().telemetry_steps

    def percent(more: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
        """Return what `more` (seconds, of the times of the four kinds) is of a bare step."""
        values = 100 * more(drawn.T) / drawn.T[BARE]
        return {
            "percent": 100 * float(more(found) / found[BARE]),
            "percent_95": [float(q) for q in np.quantile(values, (0.025, 0.975))],
        }

    return {
        "model": name,
        "sites": len(wrapped.sites),
        "rounds": pairs,
        "bare_ms": 1e3 * float(found[BARE]),
        "control": percent(lambda t: t[CONTROL] - t[BARE]),
        "dormant": percent(lambda t: t[WRAPPED] - t[BARE]),
        "telemetry_every_steps": every,
        "telemetry": percent(lambda t: (t[WATCHED] - t[WRAPPED]) / every),
    }


def _fast(times: np.ndarray) -> np.ndarray:
    """Return the mean of the fastest quarter of every column."""
    ordered = np.sort(times, axis=0)
    mean: np.ndarray = ordered[: max(1, len(times) // 4)].mean(axis=0)
    return mean


def main() -> None:
    """Measure every model and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {
        "command": f"python -m benchmarks.esper.overhead --pairs {options.pairs}",
        "torch": torch.__version__.split("+")[0],
        "models": [measure(name, options.pairs // (10 if "cnn" in name else 1)) for name in MODELS],
    }
    write_whole(options.output, json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
