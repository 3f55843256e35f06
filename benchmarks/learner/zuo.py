"""A linear ACE on the data of Zuo et al., J. Phys. Chem. A 124, 731 (2020).

Usage:  python -m benchmarks.learner.zuo --train FILE --test FILE --element X [--json]

Cutoff, ridge, smoothness prior and energy weight are chosen by five-fold cross-validation on
the training set alone, by the same rule for every element; the test set is scored once, at
the end. Errors over structures (energy) and force components. Published MAE (meV/atom,
eV/angstrom): Si GAP 2.91/0.07, MTP 2.21/0.06; Mo GAP 2.24/0.09, MTP 2.83/0.09.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from benchmarks.learner.design import Basis, design_of
from benchmarks.learner.mlearn import read
from benchmarks.learner.regression import Choice, Regression, folds_of

# Of the nearest neighbours' distance. Compared with a smaller basis on a share of the data.
CUTOFFS = (1.75, 2.05, 2.35)
FUNCTIONS_TO_COMPARE = 250
FUNCTIONS = 1000


def neighbour_distance(structures: Sequence[Atoms]) -> float:
    """Return the median distance (angstrom) of an atom to its nearest neighbour."""
    nearest = []
    for atoms in structures:
        i, d = neighbor_list("id", atoms, 4.5)
        found = np.full(len(atoms), np.inf)
        np.minimum.at(found, i, d)
        nearest.append(found)
    return float(np.median(np.concatenate(nearest)))


def choose_basis(train: Sequence[Atoms], element: str, workers: int) -> tuple[Basis, list[Any]]:
    """Return the basis whose small form has the least cross-validated error."""
    few = [train[n] for n in np.flatnonzero(folds_of([a.info["group"] for a in train]) % 2 == 0)]
    distance = neighbour_distance(few)
    tried: list[tuple[Choice, float]] = []
    for factor in CUTOFFS:
        cutoff = round(factor * distance, 2)
        basis = Basis(element, cutoff, FUNCTIONS_TO_COMPARE)
        choice = Regression(few, design_of(few, basis, workers)).choose()
        tell(f"cutoff {cutoff} A: {words(choice)}")
        tried.append((choice, cutoff))
    best = min(tried, key=lambda pair: pair[0].score)[1]
    compared = [{"cutoff_A": cutoff, "score": round(choice.score, 4)} for choice, cutoff in tried]
    return Basis(element, best, FUNCTIONS), compared


def evaluate(train: list[Atoms], test: list[Atoms], element: str, workers: int) -> dict[str, Any]:
    """Choose, fit and score; energies in meV/atom, forces in eV/angstrom."""
    started = time.perf_counter()
    basis, compared = choose_basis(train, element, workers)
    regression = Regression(train, design_of(train, basis, workers))
    choice = regression.choose()
    tell(f"{len(regression.design.order)} functions: {words(choice)}")
    coefficients = regression.fit(choice)
    fit_seconds = time.perf_counter() - started
    rows = design_of(test, basis, workers)
    energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in test])
    wrong_energy = rows.energy @ coefficients - energies
    labels = np.concatenate([atoms.get_forces().ravel() for atoms in test])
    wrong_force = np.vstack(rows.forces) @ coefficients[:-1] - labels
    return {
        "element": element,
        "energy_mae_mev_per_atom": 1e3 * float(np.abs(wrong_energy).mean()),
        "energy_rmse_mev_per_atom": 1e3 * float(np.sqrt(np.mean(wrong_energy**2))),
        "force_mae_ev_per_angstrom": float(np.abs(wrong_force).mean()),
        "force_rmse_ev_per_angstrom": float(np.sqrt(np.mean(wrong_force**2))),
        "functions": len(regression.design.order),
        "fit_seconds": fit_seconds,
        "cutoff_A": basis.cutoff_A,
        "energy_weight": choice.energy_weight,
        "ridge": choice.ridge,
        "smoothness": choice.smoothness,
        "cross_validation_energy_mae_mev_per_atom": 1e3 * choice.energy_mae,
        "cross_validation_force_mae_ev_per_angstrom": choice.force_mae,
        "cutoffs_compared": compared,
    }


def words(choice: Choice) -> str:
    """Return a choice and its errors in one line."""
    return (
        f"{1e3 * choice.energy_mae:.2f} meV/atom, {choice.force_mae:.4f} eV/A left out "
        f"(energy weight {choice.energy_weight:g}, ridge {choice.ridge:g}, "
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
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
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
