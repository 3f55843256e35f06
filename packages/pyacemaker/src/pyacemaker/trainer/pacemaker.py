"""The linear ACE fit: one least-squares solve for energies, forces and stresses together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet

from pyacemaker.potential.manifest import PotentialError
from pyacemaker.trainer.active_set import active_sets, stacked
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.basis import basis_configuration, functions_by_element
from pyacemaker.trainer.closing import close_short_range
from pyacemaker.trainer.equations import equations_of, functions_of, groups_of
from pyacemaker.trainer.finish import finished
from pyacemaker.trainer.ladder import Rung, climb, described, reduced
from pyacemaker.trainer.posterior import posterior_of
from pyacemaker.trainer.regression import Regression
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import fit_targets


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
        elements, baseline, targets = fit_targets(
            train, validation, reference_energies, self.settings
        )
        basis = ACEBBasisSet(basis_configuration(elements, self.settings))
        try:
            projector, rows = self._cache.rows(elements, self.settings, train)
        except PotentialError as error:
            raise TrainerError(f"a training structure cannot be fitted: {error}") from error
        functions = functions_of(basis)
        regression = Regression(
            equations_of(train, rows, targets, elements, self.settings),
            functions,
            groups_of(train),
        )
        choice = regression.choose(
            self.settings.choose_by,
            self.settings.energy_weight,
            self.settings.smoothness,
            self.settings.ridge,
        )
        columns = np.arange(projector.total)
        rungs: list[Rung] = []
        if self.settings.ladder != "none":
            rung, rungs = climb(regression, choice, self.settings.ladder)
            columns, choice = rung.columns, replace(rung.choice, chosen_by="evidence, on a ladder")
            basis = reduced(basis, columns)
        basis.basis_coeffs = regression.fit(choice, columns).coefficients[columns]
        equations = len(regression.energy) + len(regression.rest)
        del regression
        posterior = posterior_of(
            train, rows, targets, elements, self.settings, functions, choice, columns
        )
        projections = stacked(projector, (r.projections for r in rows))
        kept = {e: columns[_inside(columns, s)] - s.start for e, s in projector.slices.items()}
        sets = active_sets(basis, {e: p[:, kept[e]] for e, p in projections.items()})
        del rows, projections
        basis, closed = close_short_range(basis, baseline, train)
        description = {
            "kind": "linear",
            "settings": self.settings.model_dump(mode="json"),
            "functions": functions_by_element(basis),
            "ladder": described(rungs),
            "rows": equations,
            "energy_weight": choice.energy_weight,
            "smoothness": choice.smoothness,
            "ridge": choice.ridge,
            "ridge_chosen_by": choice.chosen_by,
            "short_range": closed,
        }
        result = finished(
            outdir,
            basis,
            sets,
            reference_energies,
            baseline,
            description,
            train,
            validation,
            started,
            posterior,
        )
        return replace(
            result, metrics={**result.metrics, "rows_computed_for": self._cache.computed}
        )


def _inside(columns: NDArray[np.intp], place: slice) -> NDArray[np.bool_]:
    return np.asarray((columns >= place.start) & (columns < place.stop))
