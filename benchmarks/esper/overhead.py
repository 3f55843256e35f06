"""What a dormant seed costs: training steps of a wrapped model against the same model bare.

Usage:  python benchmarks/esper/overhead.py --output docs/data/esper-overhead.json

Batch 64, one thread, CPU time of the process; blocks of steps of the two alternate, and the
ratio is taken block by block. Every site that can hold a seed holds one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import esper
from esper.files import write_whole

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


def block(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, n: int
) -> float:
    """Return the CPU seconds per step of `n` training steps."""
    began = time.process_time()
    for _ in range(n):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return (time.process_time() - began) / n


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Return the step time bare and wrapped, and the ratio with its spread."""
    make, shape = MODELS[name]
    x, y = torch.randn(64, *shape), torch.randint(10, (64,))
    models: list[nn.Module] = []
    for wrapped in (False, True):
        torch.manual_seed(0)
        models.append(esper.wrap(make()) if wrapped else make())
    pairs = [(m, torch.optim.Adam(m.parameters(), lr=1e-4)) for m in models]
    steps = max(3, int(0.15 / block(*pairs[0], x, y, 3)))
    times: list[list[float]] = [[], []]
    for repeat in range(repeats):
        order = (0, 1) if repeat % 2 == 0 else (1, 0)
        for which in order:
            times[which].append(block(*pairs[which], x, y, steps))
    ratios = sorted(b / a for a, b in zip(*times, strict=True))
    wrapped_model = models[1]
    assert isinstance(wrapped_model, esper.MorphableModel)
    return {
        "model": name,
        "sites": len(wrapped_model.sites),
        "bare_ms": 1e3 * statistics.median(times[0]),
        "wrapped_ms": 1e3 * statistics.median(times[1]),
        "overhead_percent_median": 100 * (statistics.median(ratios) - 1),
        "overhead_percent_quartiles": [
            100 * (ratios[len(ratios) // 4] - 1),
            100 * (ratios[3 * len(ratios) // 4] - 1),
        ],
        "repeats": repeats,
        "steps_per_block": steps,
    }


def hook_us(repeats: int = 20000) -> float:
    """Return the microseconds that one dormant site adds to a forward pass, measured alone."""
    host = nn.Sequential(nn.Identity(), nn.Linear(1, 1))
    x = torch.zeros(1)
    times = []
    for wrapped in (False, True):
        if wrapped:
            host[0].register_forward_hook(esper.KasminaLayer("0").hook)
        best = []
        for _ in range(15):
            began = time.process_time()
            for _ in range(repeats):
                host[0](x)
            best.append((time.process_time() - began) / repeats)
        times.append(min(best))
    return 1e6 * (times[1] - times[0])


def main() -> None:
    """Measure every model and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {
        "command": f"python benchmarks/esper/overhead.py --repeats {options.repeats}",
        "torch": torch.__version__.split("+")[0],
        "dormant_site_us": hook_us(),
        "models": [measure(name, options.repeats) for name in MODELS],
    }
    write_whole(options.output, json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
