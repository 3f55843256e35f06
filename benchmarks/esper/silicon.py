"""Potentials for silicon: grown networks against fixed ones of the same final size.

Usage:  python -m benchmarks.esper.silicon --train Si-training.json --test Si-test.json \
            --seeds 5

Data: materialsvirtuallab/mlearn (Zuo et al., J. Phys. Chem. A 124, 731 (2020)). Arms, each with the
same structures, the same order of batches and the same schedule of the step, seed by seed:

    fixed       the final size (more channels, a block of terms of four atoms, wider layers) from
                the first step. Warm-started as the others: its linear part is the least-squares
                solution, and is solved anew on the way.
    grown       the small size for SMALL epochs, then grown to the final one, optimiser begun anew
    start       the small size to the end, for as many epochs as fixed
    least-squares   the linear part of the final size alone: what the networks have to beat

Cost is parameter-samples: for every epoch, trained parameters times structures. The test set is
looked at once, at the end. Differences are paired by seed; the interval is Student's t at 95 %.
The zero of energy is the mean of the training set: mlearn has no isolated atom.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.stats import t as student

from benchmarks.learner.mlearn import read
from pyacemaker.files import write_whole
from pyacemaker.trainer.growing.enlarging import grown
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.growing.problem import one_thread, problem_of
from pyacemaker.trainer.growing.readout import solve_readout
from pyacemaker.trainer.growing.trainer import EsperTrainer
from pyacemaker.trainer.growing.training import Schedule, train
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.settings import TrainerSettings
from rootstock.environments.esper_env import Descriptor, GrownCalculator, GrownModel

SETTINGS = TrainerSettings(fit="esper", baseline="none", esper_channels=1, esper_width=8)
WAYS = ("channels", "body_order", "width")
EPOCHS, SMALL, LARGE = 36, 10, 15


class Arm:
    """A network on its way, and what its training has cost."""

    def __init__(self, trainer: EsperTrainer, problem: Any, seed: int) -> None:
        self.trainer, self.problem = trainer, problem
        self.rng = np.random.default_rng([seed, 1])
        self.model, self.size = trainer._begin(problem, np.random.default_rng(seed))
        self.cost = 0.0
        self.ridge = 0.0

    def grow(self, seed: int) -> None:
        """Grow by every way, in one go; the weights drawn are the same for every arm."""
        rng = np.random.default_rng([seed, 2])
        for way in WAYS:
            self.model, self.size = grown(
                self.problem, self.model, self.size, way, self.trainer.settings, rng
            )

    def train(self, epochs: int) -> None:
        """Solve the linear part and train for some epochs (none: the linear part alone)."""
        problem, settings = self.problem.seen_by(self.model), self.trainer.settings
        batches = problem.train.batches(self.model, settings)
        validation = problem.validation.batches(self.model, settings)
        structures = problem.train.structures
        ridge = solve_readout(self.model, batches, structures, settings.ridge).ridge
        if epochs:
            train(
                self.model,
                batches,
                validation,
                Schedule(epochs, settings.esper_learning_rate),
                self.rng,
                lambda: solve_readout(self.model, batches, structures, ridge),
            )
        self.cost += epochs * self.model.parameter_count() * len(structures)


def potential(problem: Any, model: GrowingNetworks) -> GrownCalculator:
    """Return a calculator of the networks as they are."""
    descriptor = Descriptor(problem.elements, problem.cutoff_A, model.functions)
    return GrownCalculator(GrownModel(descriptor, model.plain(), problem.reference_energies))


def run_seed(
    seed: int, structures: Sequence[Atoms], test: Sequence[Atoms], count: int, cutoff: float
) -> list[dict[str, Any]]:
    """Return a row for every arm."""
    order = np.random.default_rng(seed).permutation(len(structures))[:count]
    chosen = [structures[int(n)] for n in order]
    held = max(1, count // 5)
    mean = float(np.mean([a.get_potential_energy() / len(a) for a in chosen[held:]]))
    trainer = EsperTrainer(SETTINGS.model_copy(update={"cutoff_A": cutoff}))
    problem = problem_of(chosen[held:], chosen[:held], {"Si": mean}, trainer.settings)
    rows = []
    for name in ("fixed", "grown", "start", "least-squares"):
        began = time.process_time()
        arm = Arm(trainer, problem, seed)
        if name == "grown":
            arm.train(SMALL)
            arm.grow(seed)
            arm.train(LARGE)
        else:
            if name != "start":
                arm.grow(seed)
            arm.train(0 if name == "least-squares" else EPOCHS)
        errors, _ = errors_of(potential(problem, arm.model), test)
        rows.append(
            {
                "arm": name,
                "seed": seed,
                "force_rmse_eV_per_A": errors["force_rmse"],
                "energy_rmse_eV_per_atom": errors["energy_rmse"],
                "parameters": arm.model.parameter_count(),
                "functions": len(arm.model.functions),
                "parameter_samples": arm.cost,
                "cpu_s": round(time.process_time() - began, 1),
            }
        )
        print(
            f"{seed} {name:14} {1e3 * rows[-1]['force_rmse_eV_per_A']:.1f} meV/A, "
            f"{1e3 * rows[-1]['energy_rmse_eV_per_atom']:.2f} meV/atom, "
            f"{rows[-1]['parameters']} parameters, {rows[-1]['cpu_s']} s",
            flush=True,
        )
    return rows


def interval(values: Sequence[float]) -> dict[str, float]:
    """Return the mean and the half width of its 95 % interval."""
    n = len(values)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": statistics.mean(values), "half_width_95": half}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return errors, cost and paired ratios to `fixed` of every arm."""
    by = {(row["arm"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    found: dict[str, Any] = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine, fixed = ([by[a, seed] for seed in seeds] for a in (arm, "fixed"))
        found[arm] = {
            "force_rmse_meV_per_A": interval([1e3 * r["force_rmse_eV_per_A"] for r in mine]),
            "energy_rmse_meV_per_atom": interval(
                [1e3 * r["energy_rmse_eV_per_atom"] for r in mine]
            ),
            "parameters": mine[0]["parameters"],
            "parameter_samples_of_fixed": statistics.mean(
                a["parameter_samples"] / b["parameter_samples"]
                for a, b in zip(mine, fixed, strict=True)
            ),
            "force_rmse_of_fixed": interval(
                [
                    a["force_rmse_eV_per_A"] / b["force_rmse_eV_per_A"]
                    for a, b in zip(mine, fixed, strict=True)
                ]
            ),
        }
    return found


def main() -> None:
    """Run every arm on every seed, and write what came out after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--structures", type=int, default=60, help="drawn of the training set")
    parser.add_argument("--cutoff", type=float, default=5.0, help="angstrom")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    structures, test = read(options.train, "Si"), read(options.test, "Si")
    rows: list[dict[str, Any]] = []
    if options.output.exists():  # go on from what is there
        rows = json.loads(options.output.read_text())["rows"]
    for seed in range(options.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        with one_thread():
            rows += run_seed(seed, structures, test, options.structures, options.cutoff)
        told = {
            "command": "python -m benchmarks.esper.silicon --train Si-training.json --test "
            f"Si-test.json --seeds {seed + 1} --structures {options.structures} "
            f"--cutoff {options.cutoff:g}",
            "epochs": {"fixed": EPOCHS, "grown": [SMALL, LARGE]},
            "summary": summary(rows) if len({row["seed"] for row in rows}) > 1 else None,
            "rows": rows,
        }
        write_whole(options.output, json.dumps(told, indent=1) + "\n")
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
