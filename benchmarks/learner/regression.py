"""Ridge regression on energies and forces, every choice by cross-validation.

Folds deal the structures of each group in turn, so that each fold holds every kind of
configuration. What is minimised is log(energy MAE) + log(force MAE) on what was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from benchmarks.learner.design import Design

Array = NDArray[np.float64]

FOLDS = 5
ENERGY_WEIGHTS = (50.0, 100.0, 200.0, 400.0, 800.0)  # of an eV/atom against an eV/angstrom
RIDGES = (1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9)
SMOOTHNESS = (0.5, 1.0, 1.5, 2.0)  # power of n + l that a function's prior size falls with


@dataclass(frozen=True)
class Choice:
    """What was chosen and its errors on left-out structures (eV/atom, eV/angstrom)."""

    energy_weight: float
    ridge: float
    smoothness: float
    energy_mae: float
    force_mae: float

    @property
    def score(self) -> float:
        """Smaller is better."""
        return float(np.log(self.energy_mae) + np.log(self.force_mae))


class Regression:
    """One design matrix and its labels, ready to be fitted with any weights.

    (A class because the Gram matrix of each fold serves every choice.)
    """

    def __init__(self, structures: Sequence[Atoms], design: Design) -> None:
        self.design = design
        sizes = np.array([len(atoms) for atoms in structures])
        energies = np.array([atoms.get_potential_energy() for atoms in structures]) / sizes
        self.offset = float(energies.mean())
        self.energies = energies - self.offset
        self.fold = folds_of([str(atoms.info["group"]) for atoms in structures])
        self.labels: list[Array] = []
        self.matrices: list[NDArray[np.float32]] = []
        nothing = np.zeros((0, len(design.order)), dtype=np.float32)  # for a fold of few data
        for number in range(FOLDS):
            mine = np.flatnonzero(self.fold == number)
            self.matrices.append(np.vstack([nothing, *(design.forces[n] for n in mine)]))
            forces = (structures[n].get_forces().ravel() for n in mine)
            self.labels.append(np.concatenate([np.zeros(0), *forces]))
        self.grams, self.moments = [], []
        for matrix, label in zip(self.matrices, self.labels, strict=True):
            exact = matrix.astype(float)
            self.grams.append(exact.T @ exact)
            self.moments.append(exact.T @ label)
        self.rows = sum(map(len, self.labels))
        self.gram, self.moment = np.sum(self.grams, axis=0), np.sum(self.moments, axis=0)
        self.size = np.sqrt(np.diag(self.gram) / self.rows)

    def choose(self) -> Choice:
        """Return the best choice, each ladder scanned in turn until none improves it."""
        place = [2, 2, 1]
        ladders = (ENERGY_WEIGHTS, RIDGES, SMOOTHNESS)
        known: dict[tuple[int, ...], Choice] = {}

        def at(where: Sequence[int]) -> Choice:
            key = tuple(where)
            if key not in known:
                energy_weight, ridge, smoothness = (
                    ladder[n] for ladder, n in zip(ladders, key, strict=True)
                )
                known[key] = self.assess(energy_weight, ridge, smoothness)
            return known[key]

        before = None
        while before != place:
            before = list(place)
            for axis, ladder in enumerate(ladders):
                lines = [[*place[:axis], n, *place[axis + 1 :]] for n in range(len(ladder))]
                place = min(lines, key=lambda where: at(where).score)
        return at(place)

    def assess(self, energy_weight: float, ridge: float, smoothness: float) -> Choice:
        """Return the errors of one choice on left-out folds; infinite where it has no solution."""
        wrong_energy, wrong_force = [], []
        for number in range(FOLDS):
            kept = self.fold != number
            gram, moment = self.gram - self.grams[number], self.moment - self.moments[number]
            try:
                found = self._solve(kept, gram, moment, energy_weight, ridge, smoothness)
            except LinAlgError:
                return Choice(energy_weight, ridge, smoothness, np.inf, np.inf)
            wrong_energy.append(np.abs(self.design.energy[~kept] @ found - self.energies[~kept]))
            wrong_force.append(np.abs(self.matrices[number] @ found[:-1] - self.labels[number]))
        return Choice(
            energy_weight,
            ridge,
            smoothness,
            float(np.concatenate(wrong_energy).mean()),
            float(np.concatenate(wrong_force).mean()),
        )

    def fit(self, choice: Choice) -> Array:
        """Return the coefficients (F+1) from all structures; the last is eV/atom."""
        everything = np.ones(len(self.energies), dtype=bool)
        found = self._solve(
            everything,
            self.gram,
            self.moment,
            choice.energy_weight,
            choice.ridge,
            choice.smoothness,
        )
        found[-1] += self.offset
        return found

    def _solve(
        self,
        kept: NDArray[np.bool_],
        gram: Array,
        moment: Array,
        energy_weight: float,
        ridge: float,
        smoothness: float,
    ) -> Array:
        prior = self.design.complexity**-smoothness / 2.0 ** (self.design.order - 1)
        scale = np.where(self.size > 0, prior / np.where(self.size > 0, self.size, 1.0), 0.0)
        # Without their means the energies' rows are small, and the last column is not needed.
        energy, label = self.design.energy[kept, :-1], self.energies[kept]
        centre, level = energy.mean(axis=0), float(label.mean())
        rows = energy_weight * (energy - centre) * scale
        system = rows.T @ rows + gram * scale[:, None] * scale
        right = rows.T @ (energy_weight * (label - level)) + moment * scale
        system[np.diag_indices_from(system)] += ridge * self.rows
        solution: Array = cho_solve(cho_factor(system), right) * scale
        return np.append(solution, level - centre @ solution)


def folds_of(groups: Sequence[str]) -> NDArray[np.intp]:
    """Deal the members of each group in turn."""
    met: dict[str, int] = {}
    fold = np.zeros(len(groups), dtype=np.intp)
    for n, group in enumerate(groups):
        fold[n] = met.get(group, 0) % FOLDS
        met[group] = met.get(group, 0) + 1
    return fold
