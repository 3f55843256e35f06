"""Potentials for silicon: grown networks against fixed ones of the same final size.

Usage:  python -m benchmarks.esper.silicon --train Si-training.json --test Si-test.json \
            --seeds 12

Data: materialsvirtuallab/mlearn (Zuo et al., J. Phys. Chem. A 124, 731 (2020)). Arms, each with the
same structures and first weights and, seed by seed, a step that falls as one cosine over all of
the arm's epochs:

    fixed       the final size (more channels, a block of terms of four atoms, wider layers) from
                the first step. Warm-started as the others: its linear part is the least-squares
                solution, and is solved anew on the way.
    fixed-50    the same for half of the epochs: what less training alone would give
    grown       the small size for a few epochs, then grown by all three ways to the final one
    widened     the final descriptor with narrow layers, which grow later
    start       the small size to the end, for as many epochs as fixed
    least-squares   the linear part of the final size alone: what the networks have to beat

Cost is parameter-samples: for every epoch, trained parameters times structures. The test set is
looked at once, at the end; when to grow was chosen on structures of the training file that seeds
100 to 103 had left over. Differences are paired by seed; the interval is Student's t at 95 %.
The zero of energy is the mean of the training set: mlearn has no isolated atom.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.stats import t as student

from benchmarks.learner.mlearn import read
from pyacemaker.files import write_whole
from pyacemaker.trainer.growing.enlarging import grown
from pyacemaker.trainer.growing.environments import Environment, environments_of
from pyacemaker.trainer.growing.growth import Way
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.growing.problem import Problem, Side, one_thread, problem_of
from pyacemaker.trainer.growing.readout import solve_readout
from pyacemaker.trainer.growing.sizes import Size
from pyacemaker.trainer.growing.trainer import EsperTrainer
from pyacemaker.trainer.growing.training import Schedule, train
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.settings import TrainerSettings
from rootstock.environments.esper_env import Descriptor, GrownCalculator, GrownModel

SETTINGS = TrainerSettings(fit="esper", baseline="none", esper_channels=1, esper_width=8)
EPOCHS = 60
DESCRIPTOR: tuple[Way, ...] = ("channels", "body_order")
FINAL: tuple[Way, ...] = (*DESCRIPTOR, "width")
# Every arm's stages: how it grows, and for how many epochs it is trained then.
ARMS: dict[str, tuple[tuple[tuple[Way, ...], int], ...]] = {
    "fixed": ((FINAL, EPOCHS),),
    "fixed-50": ((FINAL, EPOCHS // 2),),
    "grown": (((), 5), (FINAL, 28)),
    "widened": ((DESCRIPTOR, 12), (("width",), 22)),
    "start": (((), EPOCHS),),
    "least-squares": ((FINAL, 0),),
}


@dataclass(frozen=True)
class Part(Schedule):
    """Some epochs of a training of `whole`, after `before`: the step falls over all of them."""

    before: int = 0
    whole: int = 1

    def rate(self, epoch: float) -> float:
        """Return the step at a moment counted in the part's epochs."""
        return Schedule(self.whole, self.learning_rate).rate(self.before + epoch)


@dataclass(frozen=True)
class Remembered(Problem):
    """A problem whose environments are found once for all arms and seeds."""

    known: dict[tuple[Any, ...], dict[int, Environment]] = field(default_factory=dict)

    def seen_by(self, model: GrowingNetworks) -> Problem:
        """Return the problem with the environments of the model's functions."""
        known = self.known.setdefault(tuple(model.functions), {})
        both = [*self.train.structures, *self.validation.structures]
        new = [atoms for atoms in both if id(atoms) not in known]
        descriptor = Descriptor(self.elements, self.cutoff_A, model.functions)
        known.update(zip(map(id, new), environments_of(descriptor, new), strict=True))

        def seen(side: Side) -> Side:
            return replace(side, environments=[known[id(atoms)] for atoms in side.structures])

        return replace(self, train=seen(self.train), validation=seen(self.validation))


class Arm:
    """A network on its way, and what its training has cost."""

    def __init__(
        self,
        trainer: EsperTrainer,
        problem: Problem,
        begun: tuple[GrowingNetworks, Size],
        seed: int,
    ) -> None:
        self.trainer, self.problem = trainer, problem
        self.order, self.drawn = (np.random.default_rng([seed, n]) for n in (1, 2))
        self.model, self.size = copy.deepcopy(begun)
        self.cost = 0.0

    def grow(self, ways: Sequence[Way]) -> None:
        """Grow by these ways, in one go; the weights drawn are the same for every arm."""
        for way in ways:
            self.model, self.size = grown(
                self.problem, self.model, self.size, way, self.trainer.settings, self.drawn
            )

    def train(self, part: Part) -> None:
        """Solve the linear part and train for some epochs (none: the linear part alone)."""
        problem, settings = self.problem.seen_by(self.model), self.trainer.settings
        batches = problem.train.batches(self.model, settings)
        validation = problem.validation.batches(self.model, settings)
        structures = problem.train.structures
        ridge = solve_readout(self.model, batches, structures, settings.ridge).ridge
        if part.epochs:
            train(
                self.model,
                batches,
                validation,
                part,
                self.order,
                lambda: solve_readout(self.model, batches, structures, ridge),
            )
        self.cost += part.epochs * self.model.parameter_count() * len(structures)


def potential(problem: Any, model: GrowingNetworks) -> GrownCalculator:
    """Return a calculator of the networks as they are."""
    descriptor = Descriptor(problem.elements, problem.cutoff_A, model.functions)
    return GrownCalculator(GrownModel(descriptor, model.plain(), problem.reference_energies))


def run_seed(
    seed: int,
    structures: Sequence[Atoms],
    test: Sequence[Atoms],
    count: int,
    cutoff: float,
    known: dict[tuple[Any, ...], dict[int, Environment]],
) -> list[dict[str, Any]]:
    """Return a row for every arm."""
    order = np.random.default_rng(seed).permutation(len(structures))[:count]
    chosen = [structures[int(n)] for n in order]
    held = max(1, count // 5)
    mean = float(np.mean([a.get_potential_energy() / len(a) for a in chosen[held:]]))
    trainer = EsperTrainer(SETTINGS.model_copy(update={"cutoff_A": cutoff}))
    plain = problem_of(chosen[held:], chosen[:held], {"Si": mean}, trainer.settings)
    problem = Remembered(**vars(plain), known=known)
    begun = trainer._begin(problem, np.random.default_rng(seed))
    rows = []
    for name, stages in ARMS.items():
        began = time.process_time()
        arm = Arm(trainer, problem, begun, seed)
        before, whole = 0, sum(epochs for _, epochs in stages)
        for ways, epochs in stages:
            arm.grow(ways)
            arm.train(Part(epochs, trainer.settings.esper_learning_rate, before, whole))
            before += epochs
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
    """Return errors, cost and paired ratios to `fixed` and `fixed-50` of every arm."""
    by = {(row["arm"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    found: dict[str, Any] = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine, fixed, half = ([by[a, seed] for seed in seeds] for a in (arm, "fixed", "fixed-50"))
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
            **{
                f"force_rmse_of_{name}": interval(
                    [
                        a["force_rmse_eV_per_A"] / b["force_rmse_eV_per_A"]
                        for a, b in zip(mine, other, strict=True)
                    ]
                )
                for name, other in (("fixed", fixed), ("fixed_50", half))
            },
        }
    return found


def main() -> None:
    """Run every arm on every seed, and write what came out after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--structures", type=int, default=60, help="drawn of the training set")
    parser.add_argument("--cutoff", type=float, default=5.0, help="angstrom")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    structures, test = read(options.train, "Si"), read(options.test, "Si")
    rows: list[dict[str, Any]] = []
    if options.output.exists():  # go on from what is there
        rows = json.loads(options.output.read_text())["rows"]
    known: dict[tuple[Any, ...], dict[int, Environment]] = {}
    for seed in range(options.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        with one_thread():
            rows += run_seed(seed, structures, test, options.structures, options.cutoff, known)
        told = {
            "command": "python -m benchmarks.esper.silicon --train Si-training.json --test "
            f"Si-test.json --seeds {seed + 1} --structures {options.structures} "
            f"--cutoff {options.cutoff:g}",
            "stages": ARMS,
            "summary": summary(rows) if len({row["seed"] for row in rows}) > 1 else None,
            "rows": rows,
        }
        write_whole(options.output, json.dumps(told, indent=1) + "\n")
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
