"""How far the coefficients of a linear fit may be wrong, so that its forces have error bars.

The textbook's posterior takes what the fit leaves over for noise, and shrinks as labels are added.
Labels by DFT have next to no noise: a linear ACE is wrong because it cannot be right, as wrong
with a thousand labels as with a hundred. So the coefficients are spread as T. D. Swinburne and
D. Perez propose (Mach. Learn.: Sci. Technol. 6, 015008 (2025)): for every row i of the weighted
system X c = y the least change of the coefficients, in the posterior's own metric, that makes
it exact,

    dc_i = C x_i (y_i - x_i c) / (x_i C x_i),   C = (X^T X + ridge n S^-2)^-1

with S the prior's widths. The covariance is the mean of dc_i dc_i^T: it covers every label, and
grows outside of them. Its scale is measured: whole groups are left out in turn, their forces
predicted, and 68.27 % of these errors must lie within one standard deviation. (A quantile: a few
structures far from all others would rule a mean of squares.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh

from pyacemaker.core_weight import core_weights
from pyacemaker.potential.posterior import Posterior
from pyacemaker.trainer.design import Rows
from pyacemaker.trainer.equations import equations_of, groups_of
from pyacemaker.trainer.folds import folds_of
from pyacemaker.trainer.regression import Choice, Functions
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target

Array = NDArray[np.float64]

_FEWEST_FOLDS = 3
_WITHIN_ONE = 0.6827
_MOST_ROWS = 5000  # of a mean and of a quantile, more would change nothing
_LEAST_RIDGE = 1e-14
# Of the mean: rows that say nothing but rounding, as a force that symmetry forbids.
_LEAST_LEVERAGE = 1e-6
_LEAST_SPREAD_EV_A = 1e-9


def posterior_of(
    train: Sequence[Atoms],
    rows: Sequence[Rows],
    targets: Sequence[Target],
    elements: Sequence[str],
    settings: TrainerSettings,
    functions: Functions,
    choice: Choice,
    columns: NDArray[np.intp],
) -> Posterior | None:
    """Return the spread of the functions at `columns`; None where nothing can be left out.

    `choice` is the fit's; prior, weights and rows are those of `Regression.fit`.
    """
    folds = folds_of(groups_of(train))
    if len(folds) < _FEWEST_FOLDS or settings.force_weight <= 0.0:
        return None
    every = 1 + sum(3 * len(atoms) for atoms in train) // _MOST_ROWS
    grams, moments, counts, some, square = [], [], [], [], np.zeros(len(columns))
    for members in folds:
        equations = equations_of(
            [train[n] for n in members],
            [rows[n] for n in members],
            [targets[n] for n in members],
            elements,
            settings,
        )
        rest = np.vstack([e.rest[:, columns] for e in equations])
        energy = choice.energy_weight * np.array([e.energy[columns] for e in equations])
        label = choice.energy_weight * np.array([e.energy_label for e in equations])
        matrix = np.vstack([energy, rest])
        right = np.concatenate([label, *(e.rest_label for e in equations)])
        grams.append(matrix.T @ matrix)
        moments.append(matrix.T @ right)
        counts.append(len(right))
        square += (rest**2).sum(axis=0)
        some.append((matrix[::every], right[::every]))
    seen = square > 0.0
    scale = np.zeros(len(columns))
    size = np.sqrt(square[seen] / sum(counts))
    scale[seen] = functions.at(columns).prior(choice.smoothness)[seen] / size
    gram, moment, total = np.sum(grams, axis=0), np.sum(moments, axis=0), sum(counts)
    ridge = max(choice.ridge, _LEAST_RIDGE)
    values, vectors = eigh(scale[:, None] * gram * scale, driver="evd", check_finite=False)
    covariance = (vectors / (np.maximum(values, 0.0) + ridge * total)) @ vectors.T
    changes = pointwise(
        np.vstack([matrix for matrix, _ in some]) * scale,
        np.concatenate([right for _, right in some]),
        covariance @ (scale * moment),
        covariance,
    )
    root = scale[:, None] * _root(changes.T @ changes / len(changes))
    ratios = []
    for number, members in enumerate(folds):
        left = scale[:, None] * (gram - grams[number]) * scale
        strength = ridge * (total - counts[number])
        found = scale * _solved(left, scale * (moment - moments[number]), strength)
        for n in members:
            core = core_weights(train[n]) > 0
            forces = rows[n].forces[core][..., columns].reshape(-1, len(columns))[::every]
            error = np.abs(forces @ found - targets[n].forces[core].ravel()[::every])
            spread = np.sqrt(((forces @ root) ** 2).sum(axis=1))
            ratios.append(error / np.maximum(spread, _LEAST_SPREAD_EV_A))
    factor = float(np.quantile(np.concatenate(ratios), _WITHIN_ONE))
    return Posterior(factor * root) if np.isfinite(factor) and np.isfinite(root).all() else None


def pointwise(matrix: Array, right: Array, solution: Array, covariance: Array) -> Array:
    """Return (n x F) for each row of the system the change of the solution that makes it exact."""
    along = matrix @ covariance
    leverage = np.einsum("nf,nf->n", along, matrix)
    least = max(_LEAST_LEVERAGE * float(leverage.mean()), 1e-300)
    wrong = right - matrix @ solution
    return np.asarray(along * (wrong / np.maximum(leverage, least))[:, None])


def _root(covariance: Array) -> Array:
    values, vectors = eigh(covariance, driver="evd", check_finite=False)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _solved(system: Array, right: Array, strength: float) -> Array:
    """Solve with `strength` added to the diagonal; more of it where rounding asks for that."""
    diagonal = np.diag_indices_from(system)
    for boost in (1.0, 1e2, 1e4):
        ridged = system.copy()
        ridged[diagonal] += boost * strength
        try:
            return np.asarray(cho_solve(cho_factor(ridged, check_finite=False), right))
        except np.linalg.LinAlgError:
            continue
    return np.full(len(right), np.nan)
