"""The linear ACE fit: one least-squares solve for energies, forces and stresses together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet

from pyacemaker.potential.directory import write_potential
from pyacemaker.potential.manifest import PotentialError
from pyacemaker.provenance import KEY
from pyacemaker.trainer.active_set import ActiveSet, active_sets, stacked
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.closing import close_short_range
from pyacemaker.trainer.design import Rows
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.solve import solve
from pyacemaker.trainer.targets import Target, name_of, targets_of

Array = NDArray[np.float64]


class LinearTrainer:
    """Fits the coefficients of a linear ACE (python-ace) to the labels less the baseline.

    The loss is the sum over structures s of

        w_s^2 { [w_E dE / N]^2 + sum_i [w_F v_i |dF_i|]^2 + sum_ab [w_S dS_ab]^2 }

    with the settings' weights w_E, w_F, w_S and the softening w_s, v_i of `trainer.targets`,
    plus a ridge that grows with the complexity of a function (`prior_of`).
    Deterministic: the generator handed to `fit` is not needed.
    """

    name = "linear"

    def __init__(self, settings: TrainerSettings | None = None, workers: int = 1) -> None:
        self.settings = settings or TrainerSettings()
        self._cache = RowCache(workers)

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
        matrix, right, groups = self._assemble(train, rows, targets)
        solution = solve(matrix, right, groups, self.settings.ridge, prior_of(basis))
        shape = matrix.shape
        del matrix
        basis.basis_coeffs = solution.coefficients
        sets = active_sets(basis, stacked(projector, (r.projections for r in rows)))
        del rows
        basis, closed = close_short_range(basis, baseline, train)
        description = {
            "kind": "linear",
            "settings": self.settings.model_dump(mode="json"),
            "functions": dict(projector.counts),
            "rows": shape[0],
            "ridge": solution.ridge,
            "ridge_chosen_by": solution.chosen_by,
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
            **{k: v for k, v in description.items() if k != "settings"},
        }
        return FitResult(potential.directory, metrics, time.monotonic() - started)

    def _assemble(
        self, train: Sequence[Atoms], rows: Sequence[Rows], targets: Sequence[Target]
    ) -> tuple[Array, Array, list[str]]:
        matrix, right, groups = [], [], []
        for index, (atoms, row, target) in enumerate(zip(train, rows, targets, strict=True)):
            on_energy = (
                target.energy_weight * self.settings.energy_weight * target.weight / len(atoms)
            )
            on_forces = np.repeat(
                self.settings.force_weight * target.weight * target.force_weights, 3
            )[:, None]
            blocks = [
                on_energy * row.energy[None, :],
                on_forces * row.forces.reshape(-1, len(row.energy)),
            ]
            values = [
                np.array([on_energy * target.energy]),
                on_forces[:, 0] * target.forces.ravel(),
            ]
            if target.stress is not None and row.virial is not None:
                on_stress = self.settings.stress_weight * target.weight / GPa
                blocks.append(on_stress / atoms.get_volume() * row.virial)
                values.append(on_stress * target.stress)
            matrix.append(np.vstack(blocks))
            right.append(np.concatenate(values))
            # A structure without a group is a group of its own.
            group = atoms.info.get(KEY, {}).get("group", name_of(atoms, index))
            groups += [str(group)] * len(matrix[-1])
        return np.vstack(matrix), np.concatenate(right), groups


def prior_of(basis: ACEBBasisSet) -> Array:
    """Return the expected relative contribution of each function: smoother is larger.

    1 / (sum of n and l) for the wiggliness, halved with every further neighbour in the term.
    On few data this ranks before treating all functions alike; on many it makes no difference.
    """
    prior = [
        1.0 / (sum(f.ns) + sum(f.ls)) / 2.0 ** (len(f.ns) - 1)
        for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
        for f in [*single, *many]
    ]
    return np.array(prior)


def describe_active_sets(sets: Mapping[str, ActiveSet]) -> dict[str, dict[str, int]]:
    """Return, for each element, the functions and how many of them the data support."""
    return {
        e: {"functions": len(s.rows), "supported_by_data": s.supported} for e, s in sets.items()
    }
