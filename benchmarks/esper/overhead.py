"""What a dormant seed costs: training steps of a wrapped model against the same model bare.

Usage:  python benchmarks/esper/overhead.py --output docs/data/esper-overhead.json

Batch 64, one thread, CPU time of the process; single steps of the two alternate, in an order drawn
anew for each pair, so that what else the machine does falls on both alike. Both are the same
model with the same weights in the same memory: between steps, untimed, its hooks are taken off and
put back, so that no two copies of a model are compared. Told are the median of the paired
differences over the median bare step, with its bootstrap interval, and what the cost of one dormant
site, measured alone, would make of it. Every site that can hold a seed holds one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


def one_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> float:
    """Return the CPU seconds of a training step."""
    began = time.process_time()
    optimizer.zero_grad()
    cross_entropy(model(x), y).backward()
    optimizer.step()
    return time.process_time() - began


def measure(name: str, pairs: int, site_us: float) -> dict[str, Any]:
    """Return the step time bare and wrapped, and the overhead with its interval."""
    make, shape = MODELS[name]
    x, y = torch.randn(64, *shape), torch.randint(10, (64,))
    torch.manual_seed(0)
    bare = make()
    wrapped = esper.wrap(bare)
    optimizer = torch.optim.Adam(bare.parameters(), lr=1e-4)
    hosts = [bare.get_submodule(site) for site in wrapped.sites]
    hooks = [host._forward_hooks for host in hosts]

    def step(which: int) -> float:
        for host, hook in zip(hosts, hooks, strict=True):
            host._forward_hooks = hook if which else OrderedDict()
        return one_step(wrapped if which else bare, optimizer, x, y)

    for _ in range(5):
        step(0)
        step(1)
    rng = np.random.default_rng(0)
    times = np.empty((pairs, 2))
    for pair in range(pairs):
        for which in rng.permutation(2):
            times[pair, which] = step(int(which))
    difference = times[:, 1] - times[:, 0]
    usual = float(np.median(times[:, 0]))
    draws = np.median(rng.choice(difference, (1000, pairs)), axis=1)
    return {
        "model": name,
        "sites": len(wrapped.sites),
        "pairs": pairs,
        "bare_ms": 1e3 * usual,
        "overhead_percent": 100 * float(np.median(difference)) / usual,
        "overhead_percent_95": [100 * float(q) / usual for q in np.quantile(draws, (0.025, 0.975))],
        "overhead_percent_by_site_cost": 1e-4 * site_us * len(wrapped.sites) / usual,
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
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    site_us = hook_us()
    told: dict[str, Any] = {
        "command": f"python benchmarks/esper/overhead.py --pairs {options.pairs}",
        "torch": torch.__version__.split("+")[0],
        "dormant_site_us": site_us,
        "models": [
            measure(name, options.pairs // (10 if "cnn" in name else 1), site_us) for name in MODELS
        ],
    }
    write_whole(options.output, json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
