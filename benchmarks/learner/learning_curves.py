"""Labels needed to reach the same test error: D-optimal selection against random sampling.

    python -m benchmarks.learner.learning_curves --out benchmarks/learner/learning_curves.json

Both choose from one pool, batch by batch, with the same fit (linear ACE) and the same test
set, drawn at random from the same distribution as the pool. Teachers: ASE's EMT for
copper-gold, ASE's Tersoff potential (T2) for silicon. The pool holds cells at three sizes of
displacement and strain, mostly small ones, as trajectories would. Medians and the range over
the seeds; each seed has its own pool and test set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff, TersoffParameters

from pyacemaker.potential import Potential
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
SYSTEMS: dict[str, tuple[tuple[str, ...], Callable[[], Any]]] = {
    "Si": (("Si",), lambda: Tersoff({("Si", "Si", "Si"): T2})),
    "Cu-Au": (("Cu", "Au"), EMT),
}
SIZES = ((0.03, 0.01, 0.6), (0.08, 0.03, 0.3), (0.18, 0.06, 0.1))  # angstrom, strain, share
FUNCTIONS, CUTOFF_A = 60, 5.0


def structures(system: str, count: int, rng: np.random.Generator) -> list[Atoms]:
    elements, teacher = SYSTEMS[system]
    cell = (
        bulk("Si", a=5.43, cubic=True)
        if system == "Si"
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
        made.append(labelled(atoms, teacher()))
    return made


def labelled(atoms: Atoms, teacher: Any) -> Atoms:
    work = atoms.copy()
    work.calc = teacher
    results = {"energy": work.get_potential_energy(), "forces": work.get_forces()}
    if atoms.cell.rank == 3:
        results["stress"] = work.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def one_run(system: str, how: str, seed: int, budget: list[int], size: int) -> list[float]:
    """Return the force RMSE (eV/angstrom) on the test set after each number of labels."""
    elements, teacher = SYSTEMS[system]
    rng = np.random.default_rng(seed)
    pool, test = structures(system, size, rng), structures(system, 60, rng)
    alone = {
        e: labelled(Atoms(e, cell=[20] * 3), teacher()).calc.results["energy"] for e in elements
    }
    settings = TrainerSettings(functions_per_element=FUNCTIONS, cutoff_A=CUTOFF_A)
    kind = MaxVolSelector if how == "maxvol" else RandomSelector
    selector = kind.for_elements(elements, settings)
    chosen: list[Atoms] = []
    left = list(pool)
    curve = []
    # The same first batch at random for both: a campaign's selection starts from something.
    for labels in budget:
        want = labels - len(chosen)
        if not chosen:
            picks = rng.permutation(len(left))[:want].tolist()
        else:
            picks = list(selector.select(left, chosen, want, rng).indices)
        chosen += [left[i] for i in picks]
        left = [atoms for i, atoms in enumerate(left) if i not in set(picks)]
        with tempfile.TemporaryDirectory() as folder:
            fit = LinearTrainer(settings).fit(chosen, [], alone, Path(folder) / "p", rng)
            calculator = Potential.load(fit.potential).calculator()
            wrong = []
            for atoms in test:
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


def summarised(curves: dict[str, list[list[float]]], labels: list[int]) -> dict[str, Any]:
    """Return medians and ranges; and, seed by seed, the labels maxvol needs over random's.

    The error in question is the lowest that random sampling reached with that seed.
    """
    ratios: list[float | None] = []
    for ours, chance in zip(curves["maxvol"], curves["random"], strict=True):
        goal = min(chance)
        needed, spent = (labels_to_reach(labels, curve, goal) for curve in (ours, chance))
        ratios.append(None if needed is None or spent is None else needed / spent)
    known = [ratio for ratio in ratios if ratio is not None]
    return {
        "curves": curves,
        "median": {how: np.median(rows, axis=0).tolist() for how, rows in curves.items()},
        "lowest": {how: np.min(rows, axis=0).tolist() for how, rows in curves.items()},
        "highest": {how: np.max(rows, axis=0).tolist() for how, rows in curves.items()},
        "labels_of_maxvol_over_random_at_equal_error": ratios,
        "median_ratio": float(np.median(known)) if known else None,
        "seeds_in_which_maxvol_never_got_there": len(ratios) - len(known),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=200)
    parser.add_argument("--labels", type=int, nargs="+", default=[6, 12, 18, 24, 36, 48])
    given = parser.parse_args()
    result: dict[str, Any] = {
        "command": "python -m benchmarks.learner.learning_curves",
        "labels": given.labels,
        "functions_per_element": FUNCTIONS,
        "cutoff_A": CUTOFF_A,
        "pool": given.pool,
        "test_structures": 60,
        "unit": "force RMSE on the test set, eV/angstrom",
        "systems": {},
    }
    for system in given.systems:
        begun = time.monotonic()
        curves: dict[str, list[list[float]]] = {"maxvol": [], "random": []}
        for seed in range(given.seeds):
            for how, rows in curves.items():
                rows.append(one_run(system, how, seed, given.labels, given.pool))
            print(
                f"{system} seed {seed}: {curves['maxvol'][-1]} {curves['random'][-1]}", flush=True
            )
        summary = {**summarised(curves, given.labels), "wall_s": time.monotonic() - begun}
        result["systems"][system] = summary
        print(system, "ratio of labels, median", summary["median_ratio"], flush=True)
        if given.out:
            given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
