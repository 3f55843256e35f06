"""Grown networks against fixed ones, on paired seeds.

Usage:  python benchmarks/esper/growth.py digits --seeds 10 --output docs/data/esper-digits.json
        python benchmarks/esper/growth.py cifar --data FILE.npz --seeds 5 [--short] --output ...

Arms, each with the same seeds, hence the same split, the same order of batches and, where the
sizes are the same, the same first weights:

    fixed       the final size from the first step
    start       the first size, never grown
    OPERATOR    from the first size to the final one in equal parts, at the same epochs
    fixed-60    the final size for 60 % of the epochs: what less training alone would give
    NAME-16     from half the final size, grown early, and ended at the cost of fixed-60
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

WIDENED = ("gradmax", "firefly", "tiny", "net2wider", "random")


def configurations(task: str, source: str, seed: int, short: bool = False) -> dict[str, Config]:
    """Return the configuration of every arm; `short` is a quarter of the training (cifar)."""
    if task == "digits":
        kind, first, final, epochs, at, rate = "mlp", [8, 8], [32, 32], 60, [24, 42], 3e-3
        operators = WIDENED
    else:
        kind, first, final, epochs, at, rate = "cnn", [8, 16], [16, 32], 24, [10, 17], 1e-2
        operators = ("gradmax", "net2wider", "random")
        if short:
            epochs, at, rate, operators = 6, [2, 4], 3e-3, ("gradmax", "random")
    base: dict[str, Any] = {
        "data": {"source": source},
        "training": {"epochs": epochs, "learning_rate": rate, "seed": seed},
    }

    def arm(widths: list[int], epochs: int = epochs, **growth: Any) -> Config:
        training = {**base["training"], "epochs": epochs}
        return parse_config(
            {
                **base,
                "training": training,
                "network": {"kind": kind, "widths": widths},
                "growth": growth or {},
            }
        )

    arms = {"fixed": arm(final), "start": arm(first)}
    for operator in operators:
        arms[operator] = arm(
            first,
            kind="widen",
            trigger="epochs",
            at_epochs=at,
            events=len(at),
            final_widths=final,
            operator=operator,
            newborn_boost=2.0,
            newborn_steps=100,
        )
    if task == "digits":
        # Half of the hidden units from the first step, the rest after a fifth of the epochs.
        half, early = [16, 16], 12
        arms["fixed-60"] = arm(final, epochs=36)
        arms["start-16"] = arm(half)
        for operator in ("pursuit", "random"):
            arms[f"{operator}-16"] = arm(
                half,
                epochs=42,
                kind="widen",
                trigger="epochs",
                at_epochs=[early],
                events=1,
                final_widths=final,
                operator=operator,
                newborn_boost=2.0,
                newborn_steps=100,
            )
    more = {} if task == "digits" else {"width": 32, "training_steps": 250, "grafting_steps": 250}
    for name, chooser in () if short else (("seeds", "gradient"), ("seeds-random", "random")):
        arms[name] = arm(
            first,
            kind="seeds",
            trigger="epochs",
            at_epochs=[12, 30] if task == "digits" else [6, 14],
            chooser=chooser,
            **more,
        )
    return arms


def interval(values: list[float]) -> dict[str, float]:
    """Return the mean and the half width of its 95 % interval."""
    n = len(values)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": statistics.mean(values), "half_width_95": half}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for every arm, figures and paired differences to `fixed`, `start` and `random`."""
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
                for other in ("fixed", "start", "random")
                if other != arm
            },
        }
    return found


def _complete(rows: list[dict[str, Any]], seed: int) -> bool:
    arms = {row["arm"] for row in rows}
    return arms == {row["arm"] for row in rows if row["seed"] == seed}


def main() -> None:
    """Run every arm on every seed, and write what came out after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("task", choices=["digits", "cifar"])
    parser.add_argument("--data", default="digits", help="the .npz file, for cifar")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="6 epochs instead of 24, for cifar")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if options.output.exists():  # go on from what is there
        rows = json.loads(options.output.read_text())["rows"]
    done = {(row["arm"], row["seed"]) for row in rows}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, config in configurations(options.task, options.data, seed, options.short).items():
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
                "command": f"python benchmarks/esper/growth.py {options.task} "
                f"--seeds {len(complete)}"
                + (" --data FILE.npz" if options.task == "cifar" else "")
                + (" --short" if options.short else ""),
                "torch": torch.__version__.split("+")[0],
                "summary": summary(rows),
                "rows": rows,
            }
            write_whole(options.output, json.dumps(told, indent=1) + "\n")
    for name, what in summary(rows).items():
        accuracy = what["test_accuracy"]
        print(
            f"{name:13} {100 * accuracy['mean']:.2f} +- {100 * accuracy['half_width_95']:.2f} %, "
            f"{what['parameters']:.0f} parameters, {what['training_flops_of_fixed']:.2f} of FLOPs"
        )


if __name__ == "__main__":
    main()
