"""One run of the `pacemaker` command: its input, its progress, and what went wrong."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms

from pyacemaker.files import write_whole
from pyacemaker.parts.environments import Environment
from pyacemaker.process import Finished, run_program
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target

Say = Callable[[str], None]

START = "start.yaml"
TARGET = "target.yaml"  # where the basis is to be extended
RESULT = "output_potential.yaml"
LOG = "pacemaker.log"
_INPUT = "input.yaml"
_DATASET = "train.pckl.gzip"
_METRICS = "metrics.txt"  # pacemaker's table, one line for each iteration
_DATASET_SCRIPT = Path(__file__).with_name("finnis_sinclair_dataset.py")
_DATASET_LIMIT_S = 600.0
_LOOK_S = 2.0
_BATCH_ATOMS = 300  # few enough for the memory of a laptop, enough to outweigh the overhead
_LEAST_SPREAD_EV = 1e-3  # of energies, per atom: below it they are all alike
_LEAST_SPREAD_EV_A = 1e-2
# Ridge on coefficients and roughness of radial functions, relative to the loss of knowing
# nothing: so weak that they only settle what the data leave open. (An absolute number, as in
# pacemaker's template, outweighs the labels once their weighted spread is small.)
_REGULARISATION = 1e-8
_REGULARISED = ("L1_coeffs", "L2_coeffs", "w0_rad", "w1_rad", "w2_rad")
_ERROR = re.compile(r"(\w+(?:\.\w+)*(?:Error|Exception|Interrupt|Warning)\b.*|.*\bKilled\b.*)")


@dataclass(frozen=True)
class Iteration:
    """How far the fit is: weighted loss, and RMSE of the training set's residual.

    `energy_rmse` in eV/atom, `force_rmse` in eV/angstrom, each component.
    """

    number: int
    loss: float
    energy_rmse: float
    force_rmse: float


def write_input(
    workdir: Path,
    structures: Sequence[Atoms],
    targets: Sequence[Target],
    elements: Sequence[str],
    settings: TrainerSettings,
    seed: int,
    extends: bool = False,
) -> None:
    """Write pacemaker's input and the training set (as JSON) into `workdir`.

    The starting potential, `START`, is written by the caller; with `extends` also `TARGET`, whose
    functions are added to it.
    """
    rows = []
    for atoms, target in zip(structures, targets, strict=True):
        rows.append(
            {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.array.tolist(),
                "pbc": [bool(flag) for flag in atoms.pbc],
                "energy": target.energy,
                "forces": target.forces.tolist(),
                # Squares: the softening weighs a row, pacemaker weighs the row's square.
                "w_energy": (target.energy_weight * target.weight) ** 2,
                "w_forces": ((target.weight * target.force_weights) ** 2).tolist(),
            }
        )
    write_whole(workdir / "train.json", json.dumps(rows))
    kappa, ignorance = kappa_of(targets, settings.fs_energy_fraction)
    mean_atoms = sum(len(atoms) for atoms in structures) / len(structures)
    batch_size = int(np.clip(_BATCH_ATOMS / mean_atoms, 1, 100))
    content: dict[str, Any] = {
        "seed": seed,
        "data": {
            "filename": _DATASET,
            # The isolated atoms are subtracted already. Said here all the same: pacemaker
            # fits energies of its own where it finds the given ones too far from zero.
            "reference_energy": dict.fromkeys(elements, 0.0),
        },
        "potential": START,
        "fit": {
            "optimizer": "BFGS",
            "maxiter": settings.fs_iterations,
            "fit_cycles": 1,
            "loss": {
                "kappa": kappa,
                **dict.fromkeys(_REGULARISED, _REGULARISATION * ignorance),
            },
        },
        "backend": {"evaluator": "tensorpot", "batch_size": batch_size, "display_step": 50},
    }
    if extends:
        content["potential"] = {"filename": TARGET, "initial_potential": START}
    write_whole(workdir / _INPUT, yaml.safe_dump(content, sort_keys=False))


def kappa_of(targets: Sequence[Target], energy_fraction: float) -> tuple[float, float]:
    """Return pacemaker's kappa, the factor of the forces in the loss, and the loss of ignorance.

    Kappa (the energies have 1 - kappa) gives the energies the share `energy_fraction` of the
    loss of a model that knows only the mean energy and no forces, so that energies (eV/atom,
    spread over tenths) and forces (eV/angstrom, spread over units) are learnt to a like
    fraction of their spread. The second number is that model's loss (eV^2).
    """
    weights = np.array([t.weight**2 for t in targets])
    energies = np.array([t.energy / len(t.forces) for t in targets])
    mean = np.average(energies, weights=weights)
    energy_spread = np.average((energies - mean) ** 2, weights=weights)
    energy_spread = max(float(energy_spread), _LEAST_SPREAD_EV**2)
    force_weights = np.concatenate([(t.weight * t.force_weights) ** 2 for t in targets])
    squares = np.concatenate([(t.forces**2).sum(axis=1) for t in targets])
    force_spread = np.average(squares, weights=force_weights)
    force_spread = max(float(force_spread), _LEAST_SPREAD_EV_A**2)
    on_energies = energy_fraction / energy_spread
    on_forces = (1.0 - energy_fraction) / force_spread
    kappa = on_forces / (on_energies + on_forces)
    return kappa, (1.0 - kappa) * energy_spread + kappa * force_spread


def run_pacemaker(
    workdir: Path, environment: Environment, settings: TrainerSettings, say: Say
) -> tuple[Iteration, ...]:
    """Run the fit in `workdir`; return its iterations, the last one last.

    Raises TrainerError with the last error of the log.
    """
    variables = environment.variables(**_quiet_tensorflow())
    dataset = run_program(
        [str(environment.python), str(_DATASET_SCRIPT), "train.json", _DATASET],
        cwd=workdir,
        stdout=workdir / "dataset.log",
        timeout_s=min(settings.timeout_s, _DATASET_LIMIT_S),
        env=variables,
    )
    if dataset.returncode != 0:
        raise _failure("pacemaker's dataset could not be made", dataset, workdir, "dataset.log")
    with _progress_told(workdir, settings.fs_iterations, say):
        fit = run_program(
            [str(environment.program("pacemaker")), _INPUT, "--no-predict"],
            cwd=workdir,
            stdout=workdir / LOG,
            timeout_s=settings.timeout_s,
            env=variables,
        )
    done = iterations_of(workdir / _METRICS)
    if fit.timed_out:
        raise TrainerError(
            f"the finnis-sinclair fit was stopped after its time limit of {settings.timeout_s:g} s "
            f"at iteration {done[-1].number if done else 0} of {settings.fs_iterations}"
            f"{_last_error(workdir / LOG, ' (', ')')}; raise trainer.timeout_s, or lower "
            "trainer.fs_iterations or trainer.functions_per_element"
        )
    if fit.returncode != 0 or not (workdir / RESULT).is_file():
        raise _failure("the finnis-sinclair fit failed", fit, workdir, LOG)
    if not done:
        raise TrainerError(f"pacemaker wrote no iterations to {workdir / _METRICS}")
    return done


def iterations_of(table: Path) -> tuple[Iteration, ...]:
    """Read pacemaker's table of iterations; a line still being written is left out."""
    try:
        text = table.read_text()
    except FileNotFoundError:
        return ()
    header, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
    names = header.split()
    found = []
    for line in lines:
        values = dict(zip(names, line.split(), strict=False))
        try:
            found.append(
                Iteration(
                    int(values["iter_num"]),
                    float(values["loss"]),
                    float(values["rmse_epa"]),
                    float(values["rmse_f_comp"]),
                )
            )
        except (KeyError, ValueError):
            continue
    return tuple(found)


@contextmanager
def _progress_told(workdir: Path, wanted: int, say: Say) -> Iterator[None]:
    """Tell the fit's progress from another thread while it runs."""
    ended = threading.Event()

    def watch() -> None:
        told = -1
        while not ended.wait(_LOOK_S):
            done = iterations_of(workdir / _METRICS)
            if done and done[-1].number > told:
                told, last = done[-1].number, done[-1]
                say(
                    f"finnis-sinclair fit: iteration {last.number} of {wanted}, training RMSE "
                    f"{1e3 * last.energy_rmse:.1f} meV/atom, "
                    f"{1e3 * last.force_rmse:.0f} meV/angstrom"
                )

    watcher = threading.Thread(target=watch, name="finnis-sinclair-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _quiet_tensorflow() -> Mapping[str, str]:
    """Return variables that make TensorFlow quiet, repeatable and as parallel as told."""
    chosen = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_DETERMINISTIC_OPS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
    }
    if threads := os.environ.get("OMP_NUM_THREADS"):
        chosen["TF_NUM_INTRAOP_THREADS"] = threads
    return chosen


def _failure(what: str, finished: Finished, workdir: Path, log: str) -> TrainerError:
    cause = _last_error(workdir / log, ": ", "")
    return TrainerError(f"{what} ({finished.describe()}){cause}; see {workdir / log}")


def _last_error(log: Path, before: str, after: str) -> str:
    """Return the last line of the log that names an error, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    except FileNotFoundError:
        return ""
    lines = [line for line in lines if line]
    errors = [line for line in lines if _ERROR.fullmatch(line) and "Warning" not in line]
    chosen = (errors or lines)[-1:]
    return f"{before}{chosen[0][:300]}{after}" if chosen else ""
