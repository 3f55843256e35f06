"""A linear ACE on the data of Zuo et al., J. Phys. Chem. A 124, 731 (2020).

Usage:  python -m benchmarks.learner.zuo --train FILE --test FILE --element X [--json]

The fit is the product's own (`pyacemaker.trainer`). Cutoff, reach of pairs and triples, ridge and
energy weight are chosen by five-fold cross-validation on the training set alone, by the same rule
for every element and by the errors that are reported; the test set is scored once, at the end.
Errors over structures (energy) and force components. Published MAE (meV/atom, eV/angstrom): Si
GAP 2.91/0.07, MTP 2.21/0.06; Mo GAP 2.24/0.09, MTP 2.83/0.09.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from benchmarks.learner import linear
from benchmarks.learner.mlearn import read
from pyacemaker.trainer.regression import Choice, Fitted
from pyacemaker.trainer.settings import TrainerSettings

# Of the nearest neighbours' distance. Compared with a smaller basis on a share of the data,
# from the third on: outwards while it gets better, else inwards.
CUTOFFS = (1.5, 1.65, 1.8, 2.0, 2.2, 2.4)
START = 3
FUNCTIONS_TO_COMPARE = 500
ATOMS_TO_COMPARE = 10000
# The bases compared on all data: functions, and the reach of pair and three-body terms over the
# cutoff of the others (None: the same).
BASES = ((1000, None), (1400, 1.4))
LONGEST_A = 9.0
# Between 0 and 1 it makes no difference to errors left out, and is dear to choose.
SMOOTHNESS = 0.5


def neighbour_distance(structures: Sequence[Atoms]) -> float:
    """Return the median distance (angstrom) of an atom to its nearest neighbour."""
    nearest = []
    for atoms in structures:
        reach = 3.0
        while True:
            i, d = neighbor_list("id", atoms, reach)
            found = np.full(len(atoms), np.inf)
            np.minimum.at(found, i, d)
            if np.isfinite(found).all() or reach > 10.0:
                break
            reach *= 1.5
        nearest.append(found[np.isfinite(found)])
    return float(np.median(np.concatenate(nearest)))


def settings_of(
    cutoff_A: float, functions: int, far_cutoff_A: float | None = None
) -> TrainerSettings:
    """Return the settings of a fit in which all that can be is chosen by cross-validation."""
    return TrainerSettings(
        cutoff_A=cutoff_A,
        far_cutoff_A=far_cutoff_A,
        functions_per_element=functions,
        energy_weight="auto",
        smoothness=SMOOTHNESS,
        choose_by="cross-validation",
    )


def choose_cutoff(train: Sequence[Atoms], element: str, workers: int) -> tuple[float, list[Any]]:
    """Return the cutoff whose small basis has the least cross-validated error, and all tried."""
    share = max(1, round(sum(map(len, train)) / ATOMS_TO_COMPARE))
    few = [a for fold in _dealt(train, share)[:1] for a in fold]
    distance = neighbour_distance(few)
    known: dict[int, tuple[float, Choice]] = {}

    def score(place: int) -> float:
        if not 0 <= place < len(CUTOFFS):
            return np.inf
        if place not in known:
            cutoff = round(float(np.clip(CUTOFFS[place] * distance, 3.0, LONGEST_A)), 2)
            settings = settings_of(cutoff, FUNCTIONS_TO_COMPARE)
            basis, rows = linear.rows_of(few, element, settings, workers)
            regression = linear.regression_of(few, basis, rows, element, settings)
            choice = linear.choose(regression, settings)
            tell(f"cutoff {cutoff} A: {words(choice)}")
            known[place] = cutoff, choice
        return known[place][1].score

    place = START
    while (best := min((place, place - 1, place + 1), key=score)) != place:
        place = best
    compared = [
        {"cutoff_A": cutoff, "score": round(choice.score, 4)}
        for _, (cutoff, choice) in sorted(known.items())
    ]
    return known[place][0], compared


def _dealt(structures: Sequence[Atoms], number: int) -> list[list[Atoms]]:
    """Deal the members of each family in turn to `number` hands."""
    met: dict[str, int] = {}
    hands: list[list[Atoms]] = [[] for _ in range(number)]
    for atoms in structures:
        family = str(atoms.info["group"])
        hands[met.get(family, 0) % number].append(atoms)
        met[family] = met.get(family, 0) + 1
    return hands


def evaluate(train: list[Atoms], test: list[Atoms], element: str, workers: int) -> dict[str, Any]:
    """Choose, fit and score; energies in meV/atom, forces in eV/angstrom."""
    started = time.perf_counter()
    cutoff, compared = choose_cutoff(train, element, workers)
    settings, choice, fitted, bases = choose_basis(train, element, cutoff, workers)
    fit_seconds = time.perf_counter() - started
    errors = linear.errors_of(
        test, linear.rows_of(test, element, settings, workers)[1], fitted, element, settings
    )
    return {
        "element": element,
        "energy_mae_mev_per_atom": 1e3 * float(np.abs(errors.energies).mean()),
        "energy_rmse_mev_per_atom": 1e3 * float(np.sqrt(np.mean(errors.energies**2))),
        "force_mae_ev_per_angstrom": float(np.abs(errors.forces).mean()),
        "force_rmse_ev_per_angstrom": float(np.sqrt(np.mean(errors.forces**2))),
        "functions": len(fitted.coefficients),
        "fit_seconds": fit_seconds,
        "cutoff_A": cutoff,
        "energy_weight": choice.energy_weight,
        "ridge": choice.ridge,
        "smoothness": choice.smoothness,
        "left_out_energy_mae_mev_per_atom": 1e3 * (choice.energy_mae or 0.0),
        "left_out_force_mae_ev_per_angstrom": choice.rest_mae,
        "far_cutoff_A": settings.far_cutoff_A,
        "cutoffs_compared": compared,
        "bases_compared": bases,
    }


def choose_basis(
    train: Sequence[Atoms], element: str, cutoff_A: float, workers: int
) -> tuple[TrainerSettings, Choice, Fitted, list[dict[str, Any]]]:
    """Fit each of `BASES` and return the one whose left-out errors score best, and all tried."""
    tried: list[tuple[TrainerSettings, Choice, Fitted]] = []
    for functions, reach in BASES:
        far = round(min(reach * cutoff_A, LONGEST_A), 2) if reach else None
        if far is not None and far <= cutoff_A:
            continue
        settings = settings_of(cutoff_A, functions, far)
        tell(f"{functions} functions within {cutoff_A} A, pairs and triples {far or cutoff_A} A")
        basis, rows = linear.rows_of(train, element, settings, workers)
        regression = linear.regression_of(train, basis, rows, element, settings)
        del rows
        choice = linear.choose(regression, settings)
        tell(words(choice))
        tried.append((settings, choice, regression.fit(choice)))
        del regression
    compared = [
        {
            "functions": len(fitted.coefficients),
            "far_cutoff_A": settings.far_cutoff_A,
            "score": round(choice.score, 4),
            "energy_mae_mev_per_atom": 1e3 * (choice.energy_mae or 0.0),
            "force_mae_ev_per_angstrom": choice.rest_mae,
        }
        for settings, choice, fitted in tried
    ]
    return (*min(tried, key=lambda trial: trial[1].score), compared)


def words(choice: Choice) -> str:
    """Return a choice and its errors in one line."""
    return (
        f"{1e3 * (choice.energy_mae or 0.0):.2f} meV/atom, {choice.rest_mae:.4f} eV/A left out "
        f"(energy weight {choice.energy_weight:g}, ridge {choice.ridge:.1g}, "
        f"smoothness {choice.smoothness:g})"
    )


def tell(line: str) -> None:
    """Say how far it is, where it does not disturb --json."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark on one element's files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, required=True, help="the training set")
    parser.add_argument("--test", type=Path, required=True, help="the test set, scored once")
    parser.add_argument("--element", required=True, help="the element the files hold")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    train = read(arguments.train, arguments.element)
    test = read(arguments.test, arguments.element)
    found = evaluate(train, test, arguments.element, arguments.workers)
    if arguments.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")


if __name__ == "__main__":
    main()
