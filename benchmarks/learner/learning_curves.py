"""Labels needed to reach the same test error: D-optimality and committee against random sampling.

    python -m benchmarks.learner.learning_curves --labels 6 12 20 32 --pool 120 \\
        --out benchmarks/learner/learning_curves.json

All choose from one pool, batch by batch, with the same fit (linear ACE) and the same test
set, drawn at random from the same distribution as the pool. Teachers: ASE's EMT for
copper-gold, ASE's Tersoff potential (T2) for silicon, and for the systems named CHGNet the
model of that name in a rootstock root (`--root`; `rootstock build chgnet`). The pool holds cells
at three sizes of displacement and strain, mostly small ones, as trajectories would. Medians, the
range over the seeds and 95 % intervals; each seed has its own pool and test set. What the file
`--out` holds already, with the same labels and pool, is not run again.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff, TersoffParameters
from scipy.stats import t

from pyacemaker.potential import Potential
from pyacemaker.selection.base import Selector
from pyacemaker.selection.committee import CommitteeSelector
from pyacemaker.selection.maxvol import MaxVolSelector, RandomSelector
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings

T2 = TersoffParameters(
    m=3.0,
    gamma=1.0,
    lambda3=1.3258,
    c=4.8381,
    d=2.0417,
    h=0.0,
    n=22.956,
    beta=0.33675,
    lambda2=1.3258,
    B=95.373,
    R=3.0,
    D=0.2,
    lambda1=3.2394,
    A=3264.7,
)
ELEMENTS = {
    "Si": ("Si",),
    "Cu-Au": ("Cu", "Au"),
    "Si CHGNet": ("Si",),
    "Cu-Au CHGNet": ("Cu", "Au"),
}
ARMS = ("maxvol", "committee", "random")
SIZES = ((0.03, 0.01, 0.6), (0.08, 0.03, 0.3), (0.18, 0.06, 0.1))  # angstrom, strain, share
FUNCTIONS, CUTOFF_A, TESTS = 60, 5.0, 60


@contextmanager
def teacher_of(system: str, root: str | None) -> Iterator[Any]:
    """Give the calculator that labels."""
    if system.endswith("CHGNet"):
        from rootstock import RootstockCalculator

        with RootstockCalculator(model="chgnet", root=root, device="cpu") as calculator:
            yield calculator
    elif system == "Si":
        yield Tersoff({("Si", "Si", "Si"): T2})
    else:
        yield EMT()


def selector_of(how: str, elements: tuple[str, ...], settings: TrainerSettings) -> Selector:
    if how == "committee":
        return CommitteeSelector(elements, settings)
    kind = MaxVolSelector if how == "maxvol" else RandomSelector
    return kind.for_elements(elements, settings)


def structures(system: str, count: int, rng: np.random.Generator, teacher: Any) -> list[Atoms]:
    elements = ELEMENTS[system]
    cell = (
        bulk("Si", a=5.43, cubic=True)
        if elements == ("Si",)
        else bulk("Cu", "fcc", a=3.83, cubic=True) * (2, 1, 1)
    )
    made = []
    for _ in range(count):
        sigma, strain, _share = SIZES[rng.choice(3, p=[share for *_, share in SIZES])]
        atoms = cell.copy()
        atoms.symbols[:] = rng.choice(list(elements), len(atoms))
        bend = rng.uniform(-strain, strain, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (bend + bend.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(scale=sigma, size=atoms.positions.shape)
        made.append(labelled(atoms, teacher))
    return made


def labelled(atoms: Atoms, teacher: Any) -> Atoms:
    work = atoms.copy()
    work.calc = teacher
    results = {"energy": work.get_potential_energy(), "forces": work.get_forces()}
    if atoms.cell.rank == 3:
        results["stress"] = work.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@dataclass(frozen=True)
class Drawn:
    """What the arms of one seed share: pool, test set, isolated atoms, the generator after them."""

    pool: list[Atoms]
    test: list[Atoms]
    alone: dict[str, float]
    rng: np.random.Generator


def drawn(system: str, seed: int, size: int, teacher: Any) -> Drawn:
    rng = np.random.default_rng(seed)
    pool = structures(system, size, rng, teacher)
    test = structures(system, TESTS, rng, teacher)
    alone = {
        e: labelled(Atoms(e, cell=[20] * 3, pbc=True), teacher).calc.results["energy"]
        for e in ELEMENTS[system]
    }
    return Drawn(pool, test, alone, rng)


def one_run(system: str, how: str, given: Drawn, budget: list[int]) -> list[float]:
    """Return the force RMSE (eV/angstrom) on the test set after each number of labels."""
    elements = ELEMENTS[system]
    rng = copy.deepcopy(given.rng)
    settings = TrainerSettings(functions_per_element=FUNCTIONS, cutoff_A=CUTOFF_A)
    selector = selector_of(how, elements, settings)
    chosen: list[Atoms] = []
    left = list(given.pool)
    curve = []
    # The same first batch at random for all: a campaign's selection starts from something.
    for labels in budget:
        want = labels - len(chosen)
        if not chosen:
            picks = rng.permutation(len(left))[:want].tolist()
        else:
            picks = list(selector.select(left, chosen, want, rng).indices)
        chosen += [left[i] for i in picks]
        left = [atoms for i, atoms in enumerate(left) if i not in set(picks)]
        with tempfile.TemporaryDirectory() as folder:
            fit = LinearTrainer(settings).fit(chosen, [], given.alone, Path(folder) / "p", rng)
            calculator = Potential.load(fit.potential).calculator()
            wrong = []
            for atoms in given.test:
                probe = atoms.copy()
                probe.calc = calculator
                wrong.append((probe.get_forces() - atoms.get_forces()).ravel())
        curve.append(float(np.sqrt(np.mean(np.concatenate(wrong) ** 2))))
    return curve


def labels_to_reach(budget: list[int], curve: list[float], goal: float) -> float | None:
    """Return the labels (interpolated in the logarithm of the error) at which `goal` is met."""
    best = np.minimum.accumulate(curve)
    if best[-1] > goal:
        return None
    place = int(np.argmax(best <= goal))
    if place == 0:
        return float(budget[0])
    high, low = np.log(best[place - 1]), np.log(best[place])
    part = (high - np.log(goal)) / max(high - low, 1e-12)
    return float(budget[place - 1] + part * (budget[place] - budget[place - 1]))


def interval(values: list[float]) -> list[float] | None:
    """Return the geometric mean of ratios, and its 95 % interval by Student's t."""
    if len(values) < 2:
        return None
    logs = np.log(values)
    half = t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return [float(np.exp(x)) for x in (logs.mean(), logs.mean() - half, logs.mean() + half)]


def summarised(curves: dict[str, list[list[float]]], labels: list[int]) -> dict[str, Any]:
    """Return medians and ranges; and, seed by seed, what each selection needs over random's.

    The error in question is the lowest that random sampling reached with that seed.
    """
    compared = {}
    for how in ARMS[:-1]:
        ratios: list[float | None] = []
        for ours, chance in zip(curves[how], curves["random"], strict=True):
            goal = min(chance)
            needed, spent = (labels_to_reach(labels, curve, goal) for curve in (ours, chance))
            ratios.append(None if needed is None or spent is None else needed / spent)
        known = [ratio for ratio in ratios if ratio is not None]
        last = [
            ours[-1] / chance[-1]
            for ours, chance in zip(curves[how], curves["random"], strict=True)
        ]
        compared[how] = {
            "labels_over_random_at_equal_error": ratios,
            "median_ratio_of_labels": float(np.median(known)) if known else None,
            "ratio_of_labels_mean_and_95": interval(known),
            "seeds_that_never_got_there": len(ratios) - len(known),
            "error_over_random_at_most_labels": last,
            "ratio_of_error_mean_and_95": interval(last),
        }
    return {
        "seeds": len(curves["random"]),
        "curves": curves,
        "median": {how: np.median(rows, axis=0).tolist() for how, rows in curves.items()},
        "lowest": {how: np.min(rows, axis=0).tolist() for how, rows in curves.items()},
        "highest": {how: np.max(rows, axis=0).tolist() for how, rows in curves.items()},
        "against_random": compared,
    }


def found_before(path: Path | None, head: dict[str, Any]) -> dict[str, Any]:
    """Return the curves in the file, if they are of the same labels, pool and basis."""
    if path is None or not path.is_file():
        return {}
    stored = json.loads(path.read_text())
    if any(stored.get(key) != value for key, value in head.items() if key != "command"):
        return {}
    return dict(stored["systems"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--systems", nargs="+", default=["Si", "Cu-Au"], choices=list(ELEMENTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=200)
    parser.add_argument("--labels", type=int, nargs="+", default=[6, 12, 18, 24, 36, 48])
    parser.add_argument("--root", help="the rootstock root with chgnet (or ROOTSTOCK_ROOT)")
    given = parser.parse_args()
    labels = " ".join(str(n) for n in given.labels)
    head: dict[str, Any] = {
        "command": "python -m benchmarks.learner.learning_curves "
        f"--labels {labels} --pool {given.pool}",
        "labels": given.labels,
        "functions_per_element": FUNCTIONS,
        "cutoff_A": CUTOFF_A,
        "pool": given.pool,
        "test_structures": TESTS,
        "unit": "force RMSE on the test set, eV/angstrom",
    }
    result = {**head, "systems": found_before(given.out, head)}
    for system in given.systems:
        before = result["systems"].get(system, {}).get("curves", {})
        curves: dict[str, list[list[float]]] = {how: list(before.get(how, [])) for how in ARMS}
        with teacher_of(system, given.root) as teacher:
            for seed in range(given.seeds):
                begun = time.monotonic()
                behind = [how for how, rows in curves.items() if len(rows) == seed]
                if behind:
                    material = drawn(system, seed, given.pool, teacher)
                for how in behind:
                    curves[how].append(one_run(system, how, material, given.labels))
                told = ", ".join(f"{how} {rows[seed][-1]:.4f}" for how, rows in curves.items())
                print(
                    f"{system} seed {seed}: {told} ({time.monotonic() - begun:.0f} s)", flush=True
                )
                if seed + 1 < max(map(len, curves.values())):
                    continue  # an arm that is behind the others catches up first
                result["systems"][system] = summarised(curves, given.labels)
                if given.out:
                    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
