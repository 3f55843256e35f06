"""Time of a linear fit: this project's against pyace's LinearACEFit, pacemaker and ace-jax.

Usage:  python -m benchmarks.learner.fit_time --train FILE --element X [--structures 8]
        [--functions 300] [--repeats 3] [--programs ours,pyace,ace-jax,pacemaker]
        [--output benchmarks/learner/fit_time.json]

The same structures and labels, one process and one thread each, in turn; medians and ratios.
`ours`, `pyace` and `pacemaker` have the same basis; that of ace-jax has as many functions or
more. `pacemaker` is the command itself, which has no linear solver: its optimiser (BFGS) runs for
`--iterations` steps from zero. CPU seconds (children too) are compared, because the machine may
be shared; wall seconds are given beside them. A start of the programs and, for ace-jax, the
compilation of its functions are part of what a user waits for and are counted. Errors are over
the training set, at each program's own weights.

A second figure, `refit`: seconds that a refit takes after `--new` labels were added, the rows of
the others being kept; none with `--new 0`.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from pyace.basis import ACEBBasisSet

from benchmarks.learner import linear
from benchmarks.learner.mlearn import read
from pyacemaker.files import write_whole
from pyacemaker.parts.ace_jax import ace_jax
from pyacemaker.parts.tensorpot import tensorpot
from pyacemaker.process import run_program
from pyacemaker.trainer.ace_jax import write_training_set
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.finnis_sinclair_run import START, run_pacemaker, write_input
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import targets_of

Errors = tuple[float, float, int]  # RMSE of energy (eV/atom) and force (eV/angstrom), functions


def ours(structures: list[Atoms], element: str, settings: TrainerSettings, _: int) -> Errors:
    """Rows, choice of ridge and smoothness by cross-validation, and the solve."""
    basis, rows = linear.rows_of(structures, element, settings, workers=1)
    regression = linear.regression_of(structures, basis, rows, element, settings)
    fitted = regression.fit(linear.choose(regression, settings))
    wrong = linear.errors_of(structures, rows, fitted, element, settings)
    return rms(wrong.energies), rms(wrong.forces), len(fitted.coefficients)


def pyace(structures: list[Atoms], element: str, settings: TrainerSettings, _: int) -> Errors:
    """Do it by pyace's own fit (ridge 1e-5). Energies less their mean: it has no constant."""
    import pandas as pd
    from pyace.linearacefit import LinearACEDataset, LinearACEFit

    energies = np.array([a.get_potential_energy() for a in structures])
    sizes = np.array([len(a) for a in structures])
    frame = pd.DataFrame(
        {
            "ase_atoms": structures,
            "energy_corrected": energies - np.mean(energies / sizes) * sizes,
            "forces": [a.get_forces() for a in structures],
        }
    )
    basis = ACEBBasisSet(basis_configuration([element], settings))
    dataset = LinearACEDataset(basis, frame)
    dataset.construct_design_matrix(max_workers=1)
    fit = LinearACEFit(train_dataset=dataset)
    fit.model.copy_X = True  # its solver may write into the matrix; the errors need it afterwards
    fit.fit()
    errors = fit.compute_errors(dataset)
    return float(errors["epa_rmse"]), float(errors["f_comp_rmse"]), len(basis.basis_coeffs)


def ace_jax_fit(structures: list[Atoms], element: str, settings: TrainerSettings, _: int) -> Errors:
    """Run `aj fit` on a basis of at least as many functions; energies less their mean."""
    environment = ace_jax(print)
    targets = centred(structures, element, settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_training_set(folder / "train.xyz", structures, targets, settings.cutoff_A or 5.0)
        degree = degree_of(settings.functions_per_element or 300)
        command = [
            *(str(environment.program("aj")), "fit", "--train", "train.xyz", "--out", "fit"),
            *("--elements", element, "--e0", "model", "--rcut", repr(settings.cutoff_A)),
            *("--energy-key", "label_energy", "--force-key", "label_forces"),
            *("--order", "4", "--wL", "1.0", "--max-degree", str(degree)),
            *("--radial-basis", "sbessel", "--pair-mode", "zero"),
        ]
        ended = run_program(
            command,
            cwd=folder,
            stdout=folder / "log",
            timeout_s=3000,
            env=environment.variables(
                JAX_PLATFORMS="cpu",
                XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
            ),
        )
        said = (folder / "log").read_text()
        if ended.returncode != 0:
            raise SystemExit(f"ace-jax failed: {said[-2000:]}")
        words = next(line for line in said.splitlines() if line.startswith("all ")).split()
        with np.load(folder / "fit" / "model.npz") as model:
            functions = int(model["WB"].size)
        return 1e-3 * float(words[3]), float(words[4]), functions


def degree_of(functions: int) -> int:
    """Return ace-jax's total degree at order 4 that gives at least so many functions."""
    known = {8: 62, 9: 104, 10: 171, 11: 272, 12: 425, 13: 643, 14: 960}
    return next((degree for degree, number in known.items() if number >= functions), 14)


def pacemaker(
    structures: list[Atoms], element: str, settings: TrainerSettings, iterations: int
) -> Errors:
    """Run the `pacemaker` command (tensorpot) on the linear basis, all coefficients zero."""
    environment = tensorpot(print)
    targets = centred(structures, element, settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = basis_configuration([element], settings)
        start.save(str(folder / START))
        steps = settings.model_copy(update={"fs_iterations": iterations})
        write_input(folder, structures, targets, [element], steps, seed=1)
        last = run_pacemaker(folder, environment, steps, lambda _: None)[-1]
    return last.energy_rmse, last.force_rmse, settings.functions_per_element or 0


def centred(structures: list[Atoms], element: str, settings: TrainerSettings) -> list[Any]:
    """Return targets whose mean energy is zero."""
    mean = float(np.mean([a.get_potential_energy() / len(a) for a in structures]))
    return targets_of(structures, {element: mean}, ZblBaseline(()), settings)


def refit_seconds(
    structures: list[Atoms], element: str, settings: TrainerSettings, new: int
) -> dict[str, float]:
    """Time a refit after `new` labels: their rows, the choice and the solve."""
    with tempfile.TemporaryDirectory() as name:
        RowCache(1, Path(name)).rows([element], settings, structures[:-new])
        cache = RowCache(1, Path(name))
        started = time.perf_counter(), cpu_s()
        projector, rows = cache.rows([element], settings, structures)
        regression = linear.regression_of(structures, projector.basis, rows, element, settings)
        regression.fit(linear.choose(regression, settings))
        wall, cpu = time.perf_counter() - started[0], cpu_s() - started[1]
    return {
        "structures": len(structures),
        "atoms": sum(map(len, structures)),
        "new": new,
        "functions": settings.functions_per_element or 0,
        "rows_computed_for": cache.computed,
        "wall_s": wall,
        "cpu_s": cpu,
    }


def cpu_s() -> float:
    """Return the CPU seconds of this process and its children that have ended."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def rms(values: Any) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


PROGRAMS: Mapping[str, Callable[[list[Atoms], str, TrainerSettings, int], Errors]] = {
    "ours": ours,
    "pyace": pyace,
    "ace-jax": ace_jax_fit,
    "pacemaker": pacemaker,
}


def main() -> None:
    """Time all in turn and print the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--element", required=True)
    parser.add_argument("--structures", type=int, default=8)
    parser.add_argument("--functions", type=int, default=300)
    parser.add_argument("--cutoff", type=float, default=5.5)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--new", type=int, default=20)
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    everything = read(a.train, a.element)
    structures = everything[:: max(1, len(everything) // a.structures)][: a.structures]
    settings = TrainerSettings(
        cutoff_A=a.cutoff, functions_per_element=a.functions, baseline="none"
    )
    names = a.programs.split(",")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(a.repeats):
        for name in names:
            wall, cpu = time.perf_counter(), cpu_s()
            energy, force, functions = PROGRAMS[name](structures, a.element, settings, a.iterations)
            runs[name].append(
                {
                    "wall_s": time.perf_counter() - wall,
                    "cpu_s": cpu_s() - cpu,
                    "energy_rmse_mev_per_atom": 1e3 * energy,
                    "force_rmse_ev_per_angstrom": force,
                    "functions": functions,
                }
            )
            print(name, runs[name][-1], flush=True)
    medians = {
        name: {key: median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    half = everything[::2]
    result = {
        "command": f"python -m benchmarks.learner.fit_time --element {a.element} --structures "
        f"{a.structures} --functions {a.functions} --cutoff {a.cutoff} --iterations "
        f"{a.iterations} --repeats {a.repeats} --programs {a.programs}",
        "atoms": sum(map(len, structures)),
        "medians": medians,
        "times_faster_cpu": {
            name: medians[name]["cpu_s"] / medians["ours"]["cpu_s"] for name in names[1:]
        },
        "times_faster_wall": {
            name: medians[name]["wall_s"] / medians["ours"]["wall_s"] for name in names[1:]
        },
        "refit": refit_seconds(half, a.element, settings, a.new) if a.new else None,
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if a.output:
        write_whole(a.output, text + "\n")


if __name__ == "__main__":
    main()
