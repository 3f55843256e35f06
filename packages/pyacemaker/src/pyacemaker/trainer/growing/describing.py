"""What is told of a fit, the active sets that go with it, and its checkpoint's name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from pyacemaker.core_weight import core_weights
from pyacemaker.trainer.active_set import ActiveSet, active_set_of
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.growing.problem import Problem
from pyacemaker.trainer.growing.sizes import Size
from pyacemaker.trainer.growing.training import Curves
from pyacemaker.trainer.regression import Choice
from pyacemaker.trainer.settings import TrainerSettings


def active_sets(problem: Problem, model: GrowingNetworks) -> dict[str, ActiveSet]:
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


def describe(
    model: GrowingNetworks,
    size: Size,
    sets: Mapping[str, ActiveSet],
    solution: Choice,
    curves: Curves,
) -> dict[str, Any]:
    """Return what the manifest and the metrics say of a fit."""
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


def key_of(problem: Problem, model: GrowingNetworks, settings: TrainerSettings) -> str:
    """Name a training by all that decides its outcome but the generator's state."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    for environment in (*problem.train.environments, *problem.validation.environments):
        digest.update(np.ascontiguousarray(environment.B).tobytes())
    for target in (*problem.train.targets, *problem.validation.targets):
        digest.update(np.float64(target.energy).tobytes() + target.forces.tobytes())
    for value in model.weights().values():
        digest.update(value.tobytes())
    return digest.hexdigest()
