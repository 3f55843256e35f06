"""The trainer `esper`: per-element networks on ACE descriptors, which can grow.

What is fitted is the label less isolated atoms and baseline, with the linear trainer's own weights.
A fit first solves the linear part by least squares beside the blocks as they are, then trains all
by Adam on energies, forces and stresses; it keeps the epoch that was best on the validation set. A
parent of the same elements is gone on from. Growth (`grow`) is asked for by the campaign.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pyacemaker.core_weight import core_weights
from pyacemaker.potential.directory import Potential
from pyacemaker.potential.grown import write_grown_potential
from pyacemaker.potential.manifest import NETWORK, WEIGHTS, PotentialError
from pyacemaker.trainer.active_set import ActiveSet, active_set_of
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import default_cutoff
from pyacemaker.trainer.growing import growth
from pyacemaker.trainer.growing.batches import Batch, batches_of, predict
from pyacemaker.trainer.growing.closing import close_short_range
from pyacemaker.trainer.growing.decision import Diagnosis, diagnose
from pyacemaker.trainer.growing.environments import Environment, environments_of, scales_of
from pyacemaker.trainer.growing.network import GrowingNetworks, networks_from
from pyacemaker.trainer.growing.readout import solve_readout
from pyacemaker.trainer.growing.sizes import LAST_CHANNELS, Size, extended, functions_of
from pyacemaker.trainer.growing.training import Curves, Schedule, train
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.regression import Choice
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target, targets_of
from rootstock.environments.esper_env import Descriptor, GrownModel, ZblPair

Array = NDArray[np.float64]

_STEPS_PER_EPOCH = 12
_MOST_IN_BATCH = 16
PRESERVED = 1e-6  # eV, eV/angstrom, eV/angstrom^3: a growth that changes more is refused
_WORTH = 0.95  # of the loss: what more functions must bring it to, to be preferred to width


@dataclass(frozen=True)
class _Data:
    """One side of the split, seen by a descriptor."""

    structures: Sequence[Atoms]
    targets: Sequence[Target]
    environments: Sequence[Environment]

    def batches(self, model: GrowingNetworks, settings: TrainerSettings) -> list[Batch]:
        size = int(np.clip(len(self.structures) // _STEPS_PER_EPOCH, 1, _MOST_IN_BATCH))
        return batches_of(
            self.structures, self.environments, self.targets, model.scales(), settings, size
        )


@dataclass(frozen=True)
class _Problem:
    """What every fit of one call shares."""

    elements: tuple[str, ...]
    cutoff_A: float
    reference_energies: Mapping[str, float]
    train: _Data
    validation: _Data

    def seen_by(self, model: GrowingNetworks) -> _Problem:
        """Return the problem with the environments of the model's functions."""
        descriptor = Descriptor(self.elements, self.cutoff_A, model.functions)
        return replace(
            self,
            train=replace(
                self.train, environments=environments_of(descriptor, self.train.structures)
            ),
            validation=replace(
                self.validation,
                environments=environments_of(descriptor, self.validation.structures),
            ),
        )


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
        problem = self._problem(train, validation, reference_energies)
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
        problem = self._problem(train, validation, reference_energies)
        with one_thread():
            found = self._parent(potential, problem)
            if found is None:
                raise TrainerError(f"{potential} is no esper potential of these elements")
            model, size = found
            way, worth = self._choose(problem.seen_by(model), model, size)
            before = model.parameter_count()
            model, size = self.grown(problem, model, size, way, rng)
            told = {
                "way": way,
                "gains": worth,
                "parameters": [before, model.parameter_count()],
            }
            return self._finish(problem.seen_by(model), model, size, outdir, rng, started, told)

    def grown(
        self,
        problem: _Problem,
        model: GrowingNetworks,
        size: Size,
        way: growth.Way,
        rng: np.random.Generator,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> tuple[GrowingNetworks, Size]:
        """Carry a growth out; the function is what it was, which is verified.

        `problem` need not have been seen by the model. Raises TrainerError where a growth is not
        possible or would change the function.
        """
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        seen = problem.seen_by(model)
        batch = seen.train.batches(model, self.settings)[0]
        before = predict(model, batch, train=False)
        if way == "width":
            count = max(1, model.widths()[0] // 2)
            count = min(count, self.settings.esper_max_width - model.widths()[0])
            if count < 1:
                raise TrainerError("the potential has every width, channel and term it may have")
            growth.widen(model, count, self.settings.esper_operator, batch, generator, optimizer)
        else:
            larger = growth.larger(size, way)
            if larger is None:
                raise TrainerError(f"the descriptor cannot grow in {way} any more")
            size = larger
            seen = self._enlarge(problem, model, size, way, optimizer)
            if way == "body_order":
                growth.add_block(model, self.settings.esper_width, generator, optimizer)
            batch = seen.train.batches(model, self.settings)[0]
        after = predict(model, batch, train=False)
        for name in ("energy", "forces", "stress"):
            change = float((getattr(after, name) - getattr(before, name)).detach().abs().max())
            if change > PRESERVED:
                raise TrainerError(f"a growth in {way} would change {name} by {change:.2g}")
        return model, size

    def _enlarge(
        self,
        problem: _Problem,
        model: GrowingNetworks,
        size: Size,
        way: growth.Way,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> _Problem:
        """Append the functions of `size`; return the problem as it sees it now."""
        ahead = _copy(model)
        ahead.functions = extended(model.functions, size, len(model.elements))
        seen = problem.seen_by(ahead)
        shift, scale = scales_of(seen.train.environments, len(model.elements))
        growth.add_functions(model, size, shift, scale, optimizer, into_blocks=way == "channels")
        return seen

    def _choose(
        self, problem: _Problem, model: GrowingNetworks, size: Size
    ) -> tuple[growth.Way, dict[str, float]]:
        """Return the way to grow, and the loss each descriptor would bring, relative to now."""
        settings = self.settings

        def solved(trial: GrowingNetworks, seen: _Problem) -> float:
            batches = seen.train.batches(trial, settings)
            solve_readout(trial, batches, seen.train.structures, settings.ridge)
            judged = seen.validation.batches(trial, settings) if validates else batches
            return growth.loss_of(trial, judged)

        validates = bool(problem.validation.structures)
        now = solved(_copy(model), problem)
        gains: dict[str, float] = {}
        ways: tuple[growth.Way, ...] = ("channels", "body_order")
        for way in ways:
            larger = growth.larger(size, way)
            if larger is None:
                continue
            wanted = extended(model.functions, larger, len(model.elements))
            if len(wanted) > settings.esper_max_functions:
                continue
            trial = _copy(model)
            seen = self._enlarge(problem, trial, larger, way)
            gains[way] = solved(trial, seen) / now
        best = min(gains, key=lambda way: gains[way], default=None)
        if best is not None and gains[best] < _WORTH:
            return ("channels" if best == "channels" else "body_order"), gains
        if model.widths()[0] < settings.esper_max_width:
            return "width", gains
        if best is None:
            raise TrainerError("the potential has every width, channel and term it may have")
        return ("channels" if best == "channels" else "body_order"), gains

    def _problem(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
    ) -> _Problem:
        if not train:
            raise TrainerError("the training set is empty: label structures first")
        elements = tuple(sorted(reference_energies))
        baseline = baseline_of(self.settings.baseline, elements)
        both = targets_of([*train, *validation], reference_energies, baseline, self.settings)
        targets, on_validation = both[: len(train)], both[len(train) :]
        return _Problem(
            elements,
            self.settings.cutoff_A or default_cutoff(elements),
            reference_energies,
            _Data(list(train), targets, ()),
            _Data(list(validation), on_validation, ()),
        )

    def _begin(self, problem: _Problem, rng: np.random.Generator) -> tuple[GrowingNetworks, Size]:
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

    def _parent(
        self, parent: Path | None, problem: _Problem
    ) -> tuple[GrowingNetworks, Size] | None:
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
        problem: _Problem,
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
            key=_key_of(problem, model, settings),
        )
        sets = _active_sets(problem, model)
        baseline = baseline_of(settings.baseline, problem.elements)
        grown = GrownModel(
            Descriptor(problem.elements, problem.cutoff_A, model.functions),
            model.plain(),
            dict(problem.reference_energies),
            [ZblPair(p.elements, p.inner_A, p.outer_A) for p in baseline.pairs],
            {element: found.inverse for element, found in sets.items()},
        )
        grown, closed = close_short_range(grown, problem.train.structures)
        description = {
            **_description(model, size, sets, solution, curves),
            "settings": settings.model_dump(mode="json"),
            "short_range": closed,
        }
        if growth_told is not None:
            description["growth"] = dict(growth_told)
        try:
            potential = write_grown_potential(
                outdir,
                model=grown,
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


class one_thread:  # noqa: N801 - a context, written as one
    """Small matrices on one thread: quicker, and the same bits whatever the machine's load."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)


def _copy(model: GrowingNetworks) -> GrowingNetworks:
    return networks_from(
        model.elements, model.functions, model.block_inputs(), model.activation, model.weights()
    )


def _active_sets(problem: _Problem, model: GrowingNetworks) -> dict[str, ActiveSet]:
    """Return the active sets of the training set's environments, by the descriptors (B)."""
    orders = np.array([len(function) for function in model.functions], dtype=np.intp)
    found = {}
    for z, element in enumerate(problem.elements):
        rows = [
            environment.B[(environment.kinds == z) & (core_weights(atoms) > 0)]
            for environment, atoms in zip(
                problem.train.environments, problem.train.structures, strict=True
            )
        ]
        found[element] = active_set_of(np.concatenate(rows), orders)
    return found


def _description(
    model: GrowingNetworks,
    size: Size,
    sets: Mapping[str, ActiveSet],
    solution: Choice,
    curves: Curves,
) -> dict[str, Any]:
    return {
        "kind": "esper",
        "functions": dict.fromkeys(model.elements, len(model.functions)),
        "parameters": model.parameter_count(),
        "blocks": [
            {"functions": len(inputs), "width": width}
            for inputs, width in zip(model.block_inputs(), model.widths(), strict=True)
        ],
        "size": asdict(size),
        "ridge": solution.ridge,
        "ridge_chosen_by": solution.chosen_by,
        "active_set": {
            element: {"functions": len(found.rows), "supported_by_data": found.supported}
            for element, found in sets.items()
        },
        "curves": {
            "train": curves.train,
            "validation": curves.validation,
            "best_epoch": curves.best_epoch,
        },
    }


def _key_of(problem: _Problem, model: GrowingNetworks, settings: TrainerSettings) -> str:
    """Name a training by all that decides its outcome but the generator's state."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    for environment in (*problem.train.environments, *problem.validation.environments):
        digest.update(np.ascontiguousarray(environment.B).tobytes())
    for target in (*problem.train.targets, *problem.validation.targets):
        digest.update(np.float64(target.energy).tobytes() + target.forces.tobytes())
    for value in model.weights().values():
        digest.update(value.tobytes())
    return digest.hexdigest()
