"""The trainer `esper`: per-element networks on ACE descriptors, which can grow.

What is fitted is the label less isolated atoms and baseline, with the linear trainer's own weights.
A fit first solves the linear part by least squares beside the blocks as they are, then trains all
by Adam on energies, forces and stresses; it keeps the epoch that was best on the validation set. A
parent of the same elements is gone on from. Growth (`grow`) is asked for by the campaign.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from safetensors.numpy import load_file

from pyacemaker.potential.directory import Potential
from pyacemaker.potential.grown import write_grown_potential
from pyacemaker.potential.manifest import NETWORK, WEIGHTS, PotentialError
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.growing.closing import close_short_range
from pyacemaker.trainer.growing.decision import Diagnosis, diagnose
from pyacemaker.trainer.growing.describing import active_sets, describe, key_of
from pyacemaker.trainer.growing.enlarging import choose, grown
from pyacemaker.trainer.growing.environments import environments_of, scales_of
from pyacemaker.trainer.growing.network import GrowingNetworks, networks_from
from pyacemaker.trainer.growing.problem import Problem, one_thread, problem_of
from pyacemaker.trainer.growing.readout import solve_readout
from pyacemaker.trainer.growing.sizes import LAST_CHANNELS, Size, functions_of
from pyacemaker.trainer.growing.training import Schedule, train
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.settings import TrainerSettings
from rootstock.environments.esper_env import Descriptor, GrownModel, ZblPair


class EsperTrainer:
    """Fits and grows networks; see the module. Deterministic for a generator's state."""

    name = "esper"

    def __init__(self, settings: TrainerSettings | None = None) -> None:
        self.settings = settings or TrainerSettings(fit="esper")

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Fit and write the potential; see `trainer.base.Trainer`.

        Killed and called again alike it goes on from its checkpoint beside `outdir`.
        """
        started = time.monotonic()
        problem = problem_of(train, validation, reference_energies, self.settings)
        with one_thread():
            begun = self._parent(parent, problem)
            if begun is None:
                begun = self._begin(problem, rng)
            model, size = begun
            return self._finish(problem.seen_by(model), model, size, outdir, rng, started, None)

    def diagnose(self, metrics: Mapping[str, Any], complaints: Sequence[str]) -> Diagnosis:
        """Say what limits a potential, from the metrics of its fit; see `decision.diagnose`."""
        curves = metrics["curves"]
        return diagnose(
            curves["train"],
            curves["validation"],
            self.settings.esper_label_noise_eV_per_A,
            complaints,
        )

    def grow(
        self,
        potential: Path,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
    ) -> FitResult:
        """Grow a potential, train it, and write it into `outdir`.

        Of more channels and more neighbours in a term that is taken whose least-squares solution
        is best on the validation set; where neither brings much, the hidden layers grow. Raises
        TrainerError, also where nothing can grow any more.
        """
        started = time.monotonic()
        problem = problem_of(train, validation, reference_energies, self.settings)
        with one_thread():
            found = self._parent(potential, problem)
            if found is None:
                raise TrainerError(f"{potential} is no esper potential of these elements")
            model, size = found
            way, worth = choose(problem.seen_by(model), model, size, self.settings)
            before = model.parameter_count()
            model, size = grown(problem, model, size, way, self.settings, rng)
            told = {
                "way": way,
                "gains": worth,
                "parameters": [before, model.parameter_count()],
            }
            return self._finish(problem.seen_by(model), model, size, outdir, rng, started, told)

    def _begin(self, problem: Problem, rng: np.random.Generator) -> tuple[GrowingNetworks, Size]:
        size = Size(min(self.settings.esper_channels, LAST_CHANNELS))
        functions = functions_of(size, len(problem.elements))
        descriptor = Descriptor(problem.elements, problem.cutoff_A, functions)
        environments = environments_of(descriptor, problem.train.structures)
        if not any(len(e.moved) for e in environments):
            raise TrainerError(
                "nothing to fit: no atom of the training set has a neighbour within the cutoff"
            )
        shift, scale = scales_of(environments, len(problem.elements))
        model = GrowingNetworks(
            problem.elements, functions, shift, scale, self.settings.esper_activation
        )
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        model.add_block(range(len(functions)), self.settings.esper_width, generator)
        return model, size

    def _parent(self, parent: Path | None, problem: Problem) -> tuple[GrowingNetworks, Size] | None:
        if parent is None:
            return None
        try:
            potential = Potential.load(parent)
        except PotentialError as error:
            raise TrainerError(f"the potential to go on from is broken: {error}") from error
        same = potential.elements == problem.elements
        near = abs(potential.manifest.cutoff_A - problem.cutoff_A) < 1e-9
        if potential.manifest.form != "esper" or not same or not near:
            return None
        plan = json.loads((parent / NETWORK).read_text(encoding="utf-8"))
        functions = [tuple(tuple(factor) for factor in f) for f in plan["functions"]]
        model = networks_from(
            problem.elements,
            functions,
            plan["blocks"],
            plan["activation"],
            load_file(parent / WEIGHTS),
        )
        return model, Size(**plan["size"])

    def _finish(
        self,
        problem: Problem,
        model: GrowingNetworks,
        size: Size,
        outdir: Path,
        rng: np.random.Generator,
        started: float,
        growth_told: Mapping[str, Any] | None,
    ) -> FitResult:
        """Solve, train, find the active sets, close the short range, write, measure."""
        settings = self.settings
        batches = problem.train.batches(model, settings)
        validation = problem.validation.batches(model, settings)
        solution = solve_readout(model, batches, problem.train.structures, settings.ridge)
        checkpoint = outdir.with_name(f".{outdir.name}.training.safetensors")
        outdir.parent.mkdir(parents=True, exist_ok=True)
        curves = train(
            model,
            batches,
            validation,
            Schedule(settings.esper_epochs, settings.esper_learning_rate),
            rng,
            lambda: solve_readout(model, batches, problem.train.structures, solution.ridge),
            checkpoint,
            key=key_of(problem, model, settings),
        )
        sets = active_sets(problem, model)
        baseline = baseline_of(settings.baseline, problem.elements)
        whole = GrownModel(
            Descriptor(problem.elements, problem.cutoff_A, model.functions),
            model.plain(),
            dict(problem.reference_energies),
            [ZblPair(p.elements, p.inner_A, p.outer_A) for p in baseline.pairs],
            {element: found.inverse for element, found in sets.items()},
        )
        whole, closed = close_short_range(whole, problem.train.structures)
        description = {
            **describe(model, size, sets, solution, curves),
            "settings": settings.model_dump(mode="json"),
            "short_range": closed,
        }
        if growth_told is not None:
            description["growth"] = dict(growth_told)
        try:
            potential = write_grown_potential(
                outdir,
                model=whole,
                weights=model.weights(),
                plan={
                    "blocks": model.block_inputs(),
                    "activation": model.activation,
                    "size": asdict(size),
                },
                baseline=baseline,
                fit=description,
            )
        except PotentialError as error:
            raise TrainerError(str(error)) from error
        checkpoint.unlink(missing_ok=True)
        calculator = potential.calculator()
        train_errors, train_gamma = errors_of(calculator, problem.train.structures)
        validation_errors, validation_gamma = errors_of(calculator, problem.validation.structures)
        metrics = {
            "train": train_errors,
            "validation": validation_errors,
            "gamma_max_train": train_gamma,
            "gamma_max_validation": validation_gamma,
            **{k: v for k, v in description.items() if k != "settings"},
        }
        return FitResult(potential.directory, metrics, time.monotonic() - started)
