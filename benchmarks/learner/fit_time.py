"""Time of a linear fit: this project's rows and solve against pyace's LinearACEFit.

Usage:  python -m benchmarks.learner.fit_time --train FILE --element X [--structures 12]
        [--functions 700] [--repeats 3] [--output benchmarks/learner/fit_time.json]

The same basis, structures, labels and number of processes; both run in turn, `--repeats` times,
and medians are printed. pyace solves its own loss (Ridge, alpha 1e-5, energies per atom and
forces unweighted), ours adds the energy weight given here; errors are over the training set.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from pyace.linearacefit import LinearACEDataset, LinearACEFit

from benchmarks.learner.design import Basis, design_of
from benchmarks.learner.mlearn import read
from benchmarks.learner.regression import Choice, Regression
from pyacemaker.files import write_whole

ENERGY_WEIGHT, RIDGE, SMOOTHNESS = 30.0, 1e-12, 1.0


def ours(structures: list[Atoms], basis: Basis, workers: int) -> dict[str, float]:
    """Build the rows and solve; seconds and RMSE (meV/atom, eV/angstrom)."""
    started = time.perf_counter()
    design = design_of(structures, basis, workers)
    built = time.perf_counter()
    regression = Regression(structures, design)
    found = regression.fit(Choice(ENERGY_WEIGHT, RIDGE, SMOOTHNESS, 0.0, 0.0))
    ended = time.perf_counter()
    energies = np.array([a.get_potential_energy() / len(a) for a in structures])
    forces = np.concatenate([a.get_forces().ravel() for a in structures])
    return {
        "design_s": built - started,
        "solve_s": ended - built,
        "total_s": ended - started,
        "energy_rmse_mev_per_atom": 1e3 * rms(design.energy @ found - energies),
        "force_rmse_ev_per_angstrom": rms(np.vstack(design.forces) @ found[:-1] - forces),
    }


def pyace(structures: list[Atoms], basis: Basis, workers: int) -> dict[str, float]:
    """Do the same with pyace. Energies are less their mean, as it has no constant."""
    energies = np.array([a.get_potential_energy() for a in structures])
    sizes = np.array([len(a) for a in structures])
    frame = pd.DataFrame(
        {
            "ase_atoms": structures,
            "energy_corrected": energies - np.mean(energies / sizes) * sizes,
            "forces": [a.get_forces() for a in structures],
        }
    )
    started = time.perf_counter()
    dataset = LinearACEDataset(basis.build(), frame)
    dataset.construct_design_matrix(max_workers=workers)
    built = time.perf_counter()
    # Its solver may write into the matrix it is given; the errors need it afterwards.
    fit = LinearACEFit(train_dataset=dataset)
    fit.model.copy_X = True
    fit.fit()
    ended = time.perf_counter()
    errors = fit.compute_errors(dataset)
    return {
        "design_s": built - started,
        "solve_s": ended - built,
        "total_s": ended - started,
        "energy_rmse_mev_per_atom": 1e3 * float(errors["epa_rmse"]),
        "force_rmse_ev_per_angstrom": float(errors["f_comp_rmse"]),
    }


def rms(values: Any) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def main() -> None:
    """Time both in turn and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--element", required=True)
    parser.add_argument("--structures", type=int, default=12)
    parser.add_argument("--functions", type=int, default=700)
    parser.add_argument("--cutoff", type=float, default=5.5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    everything = read(a.train, a.element)
    structures = everything[:: max(1, len(everything) // a.structures)][: a.structures]
    basis = Basis(a.element, a.cutoff, a.functions)
    programs: dict[str, Callable[..., dict[str, float]]] = {"ours": ours, "pyace": pyace}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(a.repeats):
        for name, program in programs.items():
            runs[name].append(program(structures, basis, a.workers))
    medians = {
        name: {key: median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    result = {
        "command": f"python -m benchmarks.learner.fit_time --element {a.element} --structures "
        f"{a.structures} --functions {a.functions} --cutoff {a.cutoff} --workers {a.workers} "
        f"--repeats {a.repeats}",
        "atoms": sum(map(len, structures)),
        "medians": medians,
        "times_faster": {
            key: medians["pyace"][key] / medians["ours"][key]
            for key in ("design_s", "solve_s", "total_s")
        },
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if a.output:
        write_whole(a.output, text + "\n")


if __name__ == "__main__":
    main()
