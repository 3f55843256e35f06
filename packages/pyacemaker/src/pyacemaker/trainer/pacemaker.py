"""The linear ACE fit: one least-squares solve for energies, forces and stresses together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pyace.basis import ACEBBasisSet

from pyacemaker.potential.directory import write_potential
from pyacemaker.potential.manifest import PotentialError
from pyacemaker.trainer.active_set import ActiveSet, active_sets, stacked
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.closing import close_short_range
from pyacemaker.trainer.equations import equations_of, functions_of, groups_of
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.regression import Regression
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import targets_of


class LinearTrainer:
    """Fits the coefficients of a linear ACE (python-ace) to the labels less the baseline.

    The loss is the sum over structures s of

        w_s^2 { [w_E dE / N]^2 + sum_i [w_F v_i |dF_i|]^2 + sum_ab [w_S dS_ab]^2 }

    with the settings' weights w_E, w_F, w_S and the softening w_s, v_i of `trainer.targets`,
    plus a ridge that grows with the complexity of a function. Ridge, smoothness of that prior
    and, where it is `auto`, w_E are chosen by evidence or cross-validation (see `regression`).
    Deterministic: the generator handed to `fit` is not needed. The rows of the design matrix
    are made by `workers` processes and kept in the folder `cache`, if one is named.
    """

    name = "linear"

    def __init__(
        self,
        settings: TrainerSettings | None = None,
        workers: int = 1,
        cache: Path | None = None,
    ) -> None:
        self.settings = settings or TrainerSettings()
        self._cache = RowCache(workers, cache)

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Fit and write the potential; see `trainer.base.Trainer`. `parent` is not needed.

        The elements of the potential are those of `reference_energies`, so that it also
        knows an element the first labels do not have yet.
        """
        del rng, parent
        started = time.monotonic()
        if not train:
            raise TrainerError("the training set is empty: label structures first")
        elements = sorted(reference_energies)
        baseline = baseline_of(self.settings.baseline, elements)
        targets = targets_of(train, reference_energies, baseline, self.settings)
        targets_of(validation, reference_energies, baseline, self.settings)  # refuse bad ones now
        basis = ACEBBasisSet(basis_configuration(elements, self.settings))
        try:
            projector, rows = self._cache.rows(elements, self.settings, train)
        except PotentialError as error:
            raise TrainerError(f"a training structure cannot be fitted: {error}") from error
        regression = Regression(
            equations_of(train, rows, targets, elements, self.settings),
            functions_of(basis),
            groups_of(train),
        )
        choice = regression.choose(
            self.settings.choose_by,
            self.settings.energy_weight,
            self.settings.smoothness,
            self.settings.ridge,
        )
        basis.basis_coeffs = regression.fit(choice).coefficients
        equations = len(regression.energy) + len(regression.rest)
        del regression
        sets = active_sets(basis, stacked(projector, (r.projections for r in rows)))
        del rows
        basis, closed = close_short_range(basis, baseline, train)
        description = {
            "kind": "linear",
            "settings": self.settings.model_dump(mode="json"),
            "functions": dict(projector.counts),
            "rows": equations,
            "energy_weight": choice.energy_weight,
            "smoothness": choice.smoothness,
            "ridge": choice.ridge,
            "ridge_chosen_by": choice.chosen_by,
            "active_set": describe_active_sets(sets),
            "short_range": closed,
        }
        try:
            potential = write_potential(
                outdir,
                basis=basis,
                active_set_inverse={e: s.inverse for e, s in sets.items()},
                reference_energies=reference_energies,
                baseline=baseline,
                fit=description,
            )
        except PotentialError as error:
            raise TrainerError(str(error)) from error
        calculator = potential.calculator()
        train_errors, train_gamma = errors_of(calculator, train)
        validation_errors, validation_gamma = errors_of(calculator, validation)
        metrics: dict[str, Any] = {
            "train": train_errors,
            "validation": validation_errors,
            "gamma_max_train": train_gamma,
            "gamma_max_validation": validation_gamma,
            "rows_computed_for": self._cache.computed,
            **{k: v for k, v in description.items() if k != "settings"},
        }
        return FitResult(potential.directory, metrics, time.monotonic() - started)


def describe_active_sets(sets: Mapping[str, ActiveSet]) -> dict[str, dict[str, int]]:
    """Return, for each element, the functions and how many of them the data support."""
    return {
        e: {"functions": len(s.rows), "supported_by_data": s.supported} for e, s in sets.items()
    }
