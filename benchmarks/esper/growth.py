"""Grown networks against fixed ones, on paired seeds.

Usage:  python -m benchmarks.esper.growth TASK [--seeds 10] [--data FILE.npz] [--output FILE.json]

    digits          8 + 8 hidden units to 32 + 32, a constant learning rate
    digits-decay    20 + 20 to 32 + 32, a learning rate that falls as a cosine
    cifar           convolutions of 8 + 16 channels to 16 + 32 (needs --data)
    cifar-short     the same in 6 epochs instead of 24
    cifar-decay     the same in 6 epochs, with BatchNorm and a rate that falls as a cosine
    cifar-long      10 + 20 channels to 16 + 32 in 14 epochs, with BatchNorm and such a rate

The results are beside this file, by the name of the task; seeds that are there are not run again.

Arms, each with the same seeds, hence the same split, the same order of batches and, where the
sizes are the same, the same first weights:

    fixed       the final size from the first step
    start       the first size, never grown
    OPERATOR    from the first size to the final one in equal parts, at the same epochs
    fixed-60    the final size for 60 % of the epochs: what less training alone would give
    NAME-16     from half the final size, grown early, and ended at the cost of fixed-60
    smaller     16 + 16 to 24 + 24 at random, ended at the cost of fixed-60 (digits-decay)
    seeds       the first size, and branches that have to earn their parameters; seeds-random
                chooses site and blueprint by chance

Differences are paired by seed; the interval is Student's t at 95 %. FLOPs are counted by PyTorch
while training (products and convolutions, both ways, shadow passes and scoring included).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student

from esper.config import Config, parse_config
from esper.files import write_whole
from esper.tolaria.data import load
from esper.tolaria.loop import result, train

TASKS = ("digits", "digits-decay", "cifar", "cifar-short", "cifar-decay", "cifar-long")
WIDENED = ("gradmax", "firefly", "tiny", "net2wider", "random")


def _widen(operator: str, at: list[int], final: list[int]) -> dict[str, Any]:
    return {
        "kind": "widen",
        "trigger": "epochs",
        "at_epochs": at,
        "events": len(at),
        "final_widths": final,
        "operator": operator,
        "newborn_boost": 2.0,
        "newborn_steps": 100,
    }


def configurations(task: str, source: str, seed: int) -> dict[str, Config]:
    """Return the configuration of every arm."""
    arms = {
        "digits": _digits,
        "digits-decay": _digits_decay,
        "cifar": _cifar,
        "cifar-short": _cifar_short,
        "cifar-decay": _cifar_decay,
        "cifar-long": _cifar_long,
    }[task]()
    kind = "mlp" if task.startswith("digits") else "cnn"
    return {
        name: parse_config(
            {
                "data": {"source": source},
                "network": {"kind": kind, **arm["network"]},
                "training": {**arm["training"], "seed": seed},
                "growth": arm.get("growth", {}),
            }
        )
        for name, arm in arms.items()
    }


Arms = dict[str, dict[str, Any]]


def _digits() -> Arms:
    def arm(widths: list[int], epochs: int = 60, **growth: Any) -> dict[str, Any]:
        training = {"epochs": epochs, "learning_rate": 3e-3}
        return {"network": {"widths": widths}, "training": training, "growth": growth}

    first, half, final = [8, 8], [16, 16], [32, 32]
    arms = {"fixed": arm(final), "start": arm(first)}
    arms |= {name: arm(first, **_widen(name, [24, 42], final)) for name in WIDENED}
    # Half of the hidden units from the first step, the rest after a fifth of the epochs.
    arms |= {"fixed-60": arm(final, 36), "start-16": arm(half)}
    arms |= {
        f"{name}-16": arm(half, 42, **_widen(name, [12], final)) for name in ("pursuit", "random")
    }
    for name, chooser in (("seeds", "gradient"), ("seeds-random", "random")):
        sown = {"kind": "seeds", "trigger": "epochs", "at_epochs": [12, 30], "chooser": chooser}
        arms[name] = arm(first, **sown)
    return arms


def _digits_decay() -> Arms:
    """When to grow was chosen by the validation accuracy of seeds 100 to 107, of six schedules."""

    def arm(widths: list[int], epochs: int, **growth: Any) -> dict[str, Any]:
        training = {"epochs": epochs, "learning_rate": 3e-3, "decay": "cosine"}
        return {"network": {"widths": widths}, "training": training, "growth": growth}

    first, final = [20, 20], [32, 32]
    return {
        "fixed": arm(final, 60),
        "start": arm(first, 60),
        "fixed-60": arm(final, 36),
        "random": arm(first, 38, **_widen("random", [8], final)),
        "pursuit": arm(first, 38, **_widen("pursuit", [8], final)),
        "smaller": arm([16, 16], 50, **_widen("random", [8], [24, 24])),
    }


def _cifar() -> Arms:
    def arm(widths: list[int], **growth: Any) -> dict[str, Any]:
        training = {"epochs": 24, "learning_rate": 1e-2}
        return {"network": {"widths": widths}, "training": training, "growth": growth}

    first, final = [8, 16], [16, 32]
    arms = {"fixed": arm(final), "start": arm(first)}
    for name in ("gradmax", "net2wider", "random"):
        arms[name] = arm(first, **_widen(name, [10, 17], final))
    steps = {"width": 32, "training_steps": 250, "grafting_steps": 250}
    for name, chooser in (("seeds", "gradient"), ("seeds-random", "random")):
        sown = {"kind": "seeds", "trigger": "epochs", "at_epochs": [6, 14], "chooser": chooser}
        arms[name] = arm(first, **sown, **steps)
    return arms


def _cifar_short() -> Arms:
    def arm(widths: list[int], **growth: Any) -> dict[str, Any]:
        training = {"epochs": 6, "learning_rate": 3e-3}
        return {"network": {"widths": widths}, "training": training, "growth": growth}

    first, final = [8, 16], [16, 32]
    arms = {"fixed": arm(final), "start": arm(first)}
    return arms | {
        name: arm(first, **_widen(name, [2, 4], final)) for name in ("gradmax", "random")
    }


def _normalised(first: list[int], epochs: int, less: int, grown: int, at: int) -> Arms:
    """BatchNorm and a falling rate; `fixed-60` makes `less` epochs, grown arms `grown`."""

    def arm(widths: list[int], epochs: int, **growth: Any) -> dict[str, Any]:
        training = {"epochs": epochs, "learning_rate": 1e-2, "decay": "cosine"}
        network = {"widths": widths, "norm": "batch"}
        return {"network": network, "training": training, "growth": growth}

    final = [16, 32]
    arms = {"fixed": arm(final, epochs), "start": arm(first, epochs), "fixed-60": arm(final, less)}
    return arms | {
        name: arm(first, grown, **_widen(name, [at], final)) for name in ("net2wider", "random")
    }


def _cifar_decay() -> Arms:
    return _normalised([8, 16], epochs=6, less=4, grown=5, at=2)


def _cifar_long() -> Arms:
    """When to grow was chosen on validation samples of seed 100, of trainings of 16 epochs."""
    return _normalised([10, 20], epochs=14, less=8, grown=10, at=3)


def interval(values: list[float]) -> dict[str, float]:
    """Return the mean and the half width of its 95 % interval."""
    n = len(values)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": statistics.mean(values), "half_width_95": half}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for every arm, figures and paired differences to those it is to be judged by."""
    by = {(row["arm"], row["seed"]): row for row in rows}
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    every = sorted({row["seed"] for row in rows})
    # of a file that is gone on from with new arms, what every arm has by now
    seeds = [seed for seed in every if all((arm, seed) in by for arm in arms)]
    found: dict[str, Any] = {}
    for arm in arms:
        mine = [by[arm, seed] for seed in seeds]
        found[arm] = {
            "test_accuracy": interval([row["test_accuracy"] for row in mine]),
            "parameters": statistics.mean(row["parameters"] for row in mine),
            "accuracy_per_1000_parameters": statistics.mean(
                1000 * row["test_accuracy"] / row["parameters"] for row in mine
            ),
            "training_flops_of_fixed": statistics.mean(
                row["training_flops"] / by["fixed", row["seed"]]["training_flops"] for row in mine
            ),
            "accuracy_points_against": {
                other: interval(
                    [
                        100 * (row["test_accuracy"] - by[other, row["seed"]]["test_accuracy"])
                        for row in mine
                    ]
                )
                for other in ("fixed", "fixed-60", "start", "random")
                if other != arm and other in arms
            },
        }
    return found


def _complete(rows: list[dict[str, Any]], seed: int) -> bool:
    arms = {row["arm"] for row in rows}
    return arms == {row["arm"] for row in rows if row["seed"] == seed}


def main() -> None:
    """Run every arm on every seed, and write what came out after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", default="digits", help="the .npz file, for cifar")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    if options.task.startswith("cifar") and options.data == "digits":
        parser.error("cifar needs --data FILE.npz")
    output = options.output or Path(__file__).with_name(f"{options.task}.json")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if output.exists():  # go on from what is there
        rows = json.loads(output.read_text())["rows"]
    done = {(row["arm"], row["seed"]) for row in rows}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, config in configurations(options.task, options.data, seed).items():
            if (name, seed) in done:
                continue
            data = load(config.data, Path(), seed)
            began = time.process_time()
            run = train(config, data=data)
            row = {"arm": name, "seed": seed, **result(run, data)}
            row["cpu_s"] = round(time.process_time() - began, 2)
            row["events"] = [event["kind"] for event in run.history["events"]]
            rows.append(row)
            print(f"{seed} {name:13} {row['test_accuracy']:.4f} {row['cpu_s']:6.1f} s", flush=True)
        complete = [s for s in {row["seed"] for row in rows} if _complete(rows, s)]
        if len(complete) > 1:
            told = {
                "task": options.task,
                "command": f"python -m benchmarks.esper.growth {options.task} "
                f"--seeds {len(complete)}"
                + (" --data FILE.npz" if options.task.startswith("cifar") else ""),
                "torch": torch.__version__.split("+")[0],
                "summary": summary(rows),
                "rows": rows,
            }
            write_whole(output, json.dumps(told, indent=1) + "\n")
    for name, what in summary(rows).items():
        accuracy = what["test_accuracy"]
        print(
            f"{name:13} {100 * accuracy['mean']:.2f} +- {100 * accuracy['half_width_95']:.2f} %, "
            f"{what['parameters']:.0f} parameters, {what['training_flops_of_fixed']:.2f} of FLOPs"
        )


if __name__ == "__main__":
    main()
