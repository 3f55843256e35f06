"""The last steps of every fit: a potential directory with its active set, and its errors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from pyace.basis import ACEBBasisSet

from pyacemaker.potential.directory import write_potential
from pyacemaker.potential.manifest import PotentialError
from pyacemaker.potential.posterior import Posterior
from pyacemaker.trainer.active_set import ActiveSet
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.metrics import errors_of


def finished(
    outdir: Path,
    basis: ACEBBasisSet,
    sets: Mapping[str, ActiveSet],
    reference_energies: Mapping[str, float],
    baseline: ZblBaseline,
    description: Mapping[str, Any],
    train: Sequence[Atoms],
    validation: Sequence[Atoms],
    started: float,
    posterior: Posterior | None = None,
) -> FitResult:
    """Write the potential and measure it on both sets; `started` is of `time.monotonic`.

    `description` becomes the manifest's `fit` and, but for the settings, part of the metrics.
    `posterior` is kept beside the potential where a fit knows it. Raises TrainerError.
    """
    about = {**description, "active_set": describe_active_sets(sets)}
    try:
        potential = write_potential(
            outdir,
            basis=basis,
            active_set_inverse={e: s.inverse for e, s in sets.items()},
            reference_energies=reference_energies,
            baseline=baseline,
            fit=about,
            posterior=posterior,
        )
        calculator = potential.calculator()
        train_errors, train_gamma = errors_of(calculator, train)
        validation_errors, validation_gamma = errors_of(calculator, validation)
    except PotentialError as error:
        raise TrainerError(str(error)) from error
    metrics: dict[str, Any] = {
        "train": train_errors,
        "validation": validation_errors,
        "gamma_max_train": train_gamma,
        "gamma_max_validation": validation_gamma,
        **{k: v for k, v in about.items() if k != "settings"},
    }
    return FitResult(potential.directory, metrics, time.monotonic() - started)


def describe_active_sets(sets: Mapping[str, ActiveSet]) -> dict[str, dict[str, int]]:
    """Return, for each element, the functions and how many of them the data support."""
    return {
        e: {"functions": len(s.rows), "supported_by_data": s.supported} for e, s in sets.items()
    }
