"""The Bayesian linear fit of ace-jax: noise of energies, forces and stresses and the prior's
scale by evidence, nothing to weigh by hand.

ace-jax runs in an environment of its own (`parts.ace_jax`). It fits the labels less isolated
atoms and baseline, and writes a `.yace` with tabulated radial functions, which no released
LAMMPS reads; `potential.lifting` brings that to the B-basis of pacemaker, to the ninth digit of
the radial functions, and from there on it is a potential like any other: LAMMPS runs it and
gives gamma.
"""  # noqa: D205

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ase.neighborlist import neighbor_list
from ase.stress import voigt_6_to_full_3x3_stress

from pyacemaker.core_weight import is_embedded
from pyacemaker.files import write_whole
from pyacemaker.parts.ace_jax import ACE_JAX, ace_jax
from pyacemaker.parts.environments import Environment
from pyacemaker.parts.sources import PartError
from pyacemaker.potential.lifting import lifted
from pyacemaker.potential.manifest import PotentialError
from pyacemaker.process import run_program
from pyacemaker.trainer.active_set import active_sets_of_structures
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.basis import default_cutoff, functions_by_element
from pyacemaker.trainer.closing import close_short_range
from pyacemaker.trainer.finish import finished
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target, fit_targets, name_of

Say = Callable[[str], None]

TRAIN = "train.xyz"
YACE = "fit.yace"
_LOG = "ace-jax.log"


class AceJaxTrainer:
    """Fits by `aj fit` and brings the result to the B-basis.

    Softened structures (see `trainer.targets`) are weighed by the power of two that is nearest to
    their weight. ace-jax's input, log and results stay in ``<outdir>.ace-jax`` beside the
    potential. The first fit on a machine makes an environment; `say` is told of that.
    """

    name = "ace-jax"

    def __init__(self, settings: TrainerSettings, say: Say = lambda _: None) -> None:
        self.settings = settings
        self.say = say

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Fit and write the potential; see `trainer.base.Trainer`. No parent is needed."""
        del parent
        started = time.monotonic()
        elements, baseline, targets = fit_targets(
            train, validation, reference_energies, self.settings
        )
        try:
            environment = ace_jax(self.say)
        except PartError as error:
            raise TrainerError(
                f"{error}; or set trainer.backend to pacemaker, which needs no environment of its "
                "own"
            ) from error
        workdir = outdir.with_name(f"{outdir.name}.ace-jax")
        shutil.rmtree(workdir, ignore_errors=True)
        workdir.mkdir(parents=True)
        cutoff = self.settings.cutoff_A or default_cutoff(elements)
        weights = write_training_set(workdir / TRAIN, train, targets, cutoff)
        seed = int(rng.integers(2**31))
        self._run(workdir, environment, elements, cutoff, weights, seed)
        self.say("ace-jax: bringing its potential to the B-basis")
        try:
            found = lifted(workdir / YACE)
            sets = active_sets_of_structures(found.basis, train)
        except PotentialError as error:
            raise TrainerError(f"the fitted potential cannot be used: {error}") from error
        basis, closed = close_short_range(found.basis, baseline, train)
        description = {
            "kind": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "seed": seed,
            "functions": functions_by_element(basis),
            "table_error": found.table_error,
            "hyperparameters": _hyperparameters(workdir),
            "short_range": closed,
            "pins": list(ACE_JAX.pins),
        }
        return finished(
            outdir,
            basis,
            sets,
            reference_energies,
            baseline,
            description,
            train,
            validation,
            started,
        )

    def _run(
        self,
        workdir: Path,
        environment: Environment,
        elements: Sequence[str],
        cutoff_A: float,
        weights: Mapping[str, Any],
        seed: int,
    ) -> None:
        program = str(environment.program("aj"))
        fit = [
            *(program, "fit", "--train", TRAIN, "--out", "fit"),
            *("--elements", ",".join(elements), "--e0", "model", "--seed", str(seed)),
            *("--energy-key", "label_energy", "--force-key", "label_forces"),
            *("--virial-key", "label_virial", "--weights", "weights.json"),
            *("--order", str(self.settings.max_body_order - 1), "--wL", "1.0"),
            *("--max-degree", str(self.settings.ace_jax_degree), "--rcut", repr(cutoff_A)),
            *("--radial-basis", "sbessel", "--pair-mode", "zero", "--noise", "per-quantity"),
        ]
        write_whole(workdir / "weights.json", json.dumps(weights))
        self.say(f"ace-jax fit: its output is in {workdir / _LOG}")
        deadline = time.monotonic() + self.settings.timeout_s
        export = [program, "export", "--model", "fit/model.npz", "--out", YACE]
        for what, command, log in (("fit", fit, _LOG), ("export", export, "export.log")):
            ended = run_program(
                command,
                cwd=workdir,
                stdout=workdir / log,
                timeout_s=max(deadline - time.monotonic(), 1.0),
                env=environment.variables(JAX_PLATFORMS="cpu", MPLBACKEND="agg"),
            )
            if ended.timed_out:
                raise TrainerError(
                    f"ace-jax's {what} was stopped after its time limit of "
                    f"{self.settings.timeout_s:g} s; raise trainer.timeout_s, or lower "
                    "trainer.ace_jax_degree or trainer.max_body_order"
                )
            if ended.returncode != 0:
                raise TrainerError(
                    f"ace-jax's {what} failed ({ended.describe()}): {_last_line(workdir / log)}; "
                    f"see {workdir / log}"
                )


def write_training_set(
    path: Path, structures: Sequence[Atoms], targets: Sequence[Target], cutoff_A: float
) -> dict[str, Any]:
    """Write the residual labels as extended XYZ; return ace-jax's weights of the types in it.

    Isolated atoms are left out: the model gives them no energy by construction. Raises TrainerError
    for an embedded cell, whose atoms would need weights of their own.
    """
    rows = []
    weights: dict[str, Any] = {"default": dict.fromkeys("EFV", 1.0)}
    for index, (atoms, target) in enumerate(zip(structures, targets, strict=True)):
        if is_embedded(atoms):
            raise TrainerError(
                f"{name_of(atoms, index)} is an embedded cell, whose buffer must not be fitted; "
                "ace-jax cannot leave atoms out: set trainer.backend to pacemaker"
            )
        if not len(neighbor_list("i", atoms, cutoff_A)):
            continue
        row = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        if not atoms.pbc.any():
            row.center(vacuum=cutoff_A)
        halvings = round(-math.log2(target.weight)) if target.weight > 0.0 else 60
        if halvings:
            row.info["config_type"] = f"halved{halvings}"
            weights[f"halved{halvings}"] = dict.fromkeys("EFV", 0.5**halvings)
        row.info["label_energy"] = target.energy
        row.arrays["label_forces"] = target.forces
        if target.stress is not None:
            stress = voigt_6_to_full_3x3_stress(target.stress)
            row.info["label_virial"] = -stress * atoms.get_volume()
        rows.append(row)
    if not rows:
        raise TrainerError(
            "nothing to fit: no atom of the training set has a neighbour within the cutoff"
        )
    write(path, rows, format="extxyz")
    return weights


def _hyperparameters(workdir: Path) -> Any:
    try:
        return json.loads((workdir / "fit" / "theta_map.json").read_text())
    except (OSError, ValueError):
        return None


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "no output")
