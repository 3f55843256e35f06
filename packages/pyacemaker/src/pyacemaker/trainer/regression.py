"""Ridge regression whose every choice is made by evidence or by cross-validation.

The model is y = A c + noise with the prior c_f ~ N(0, (s_f / a_f)^2): s_f is the size that a
function's contribution is expected to have (smaller for higher n, l and body order, a power
of them that is chosen too) and a_f the root mean square of its column, so that nothing depends
on how a function happens to be normalised. Energies count `energy_weight` times as much
as the other rows. The evidence is the probability of all labels under that model (D. J. C.
MacKay, Neural Comput. 4, 415 (1992)), maximised over the noise in closed form. Choices need
only the Gram matrix, a few eigendecompositions and no second pass over the rows; the chosen
system is then solved by QR, which does not square its condition number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.folds import folds_of
from pyacemaker.trainer.solve import solve_ridge

Array = NDArray[np.float64]
Method = Literal["evidence", "cross-validation"]
Wish = float | Literal["auto"]

RIDGES = np.logspace(-14, -2, 37)
SMOOTHNESS = (0.5, 1.0, 1.5, 2.0, 3.0)
ENERGY_WEIGHTS = (12.5, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0)
DEFAULT_ENERGY_WEIGHT = 100.0
_FEWEST_FOLDS = 3
_NEGLIGIBLE = 1e-5  # of the root mean square target


@dataclass(frozen=True)
class Functions:
    """What the prior knows of the functions (F): `complexity` is the sum of n and l, `order`
    the number of neighbours in the term.
    """  # noqa: D205

    complexity: Array
    order: Array

    def prior(self, smoothness: float) -> Array:
        """Return the expected relative size of each function's contribution.

        complexity^-smoothness, halved with every further neighbour in the term.
        """
        return np.asarray(self.complexity**-smoothness / 2.0 ** (self.order - 1.0))

    def at(self, columns: NDArray[np.intp]) -> Functions:
        """Return those of some functions."""
        return Functions(self.complexity[columns], self.order[columns])


@dataclass(frozen=True)
class Equations:
    """One structure's weighted rows and right-hand sides.

    `energy` (F) and `energy_label` are per atom (eV/atom) and not yet multiplied by the energy
    weight; a structure whose energy says nothing has zeros. `rest` (rows x F) and `rest_label`
    are forces and stresses. `composition` (elements; shares of an atom, weighted as the energy
    is) is used where the isolated atoms' energies are not known. Errors on left-out structures
    are divided by `energy_unit` and by `rest_unit` (rows; None: one) before they are judged: a
    row's own weight there judges the label's error itself.
    """

    energy: Array
    energy_label: float
    rest: Array
    rest_label: Array
    composition: Array
    energy_unit: float = 1.0
    rest_unit: Array | None = None


@dataclass(frozen=True)
class Choice:
    """What was chosen, by what, and its errors on left-out structures (None by evidence).

    `score` is smaller for better; the errors are mean absolute ones, in the equations' units.
    """

    energy_weight: float
    smoothness: float
    ridge: float
    chosen_by: str
    score: float = np.inf
    energy_mae: float | None = None
    rest_mae: float | None = None


@dataclass(frozen=True)
class Fitted:
    """Coefficients (F) and, where they were fitted, the elements' energies (eV/atom)."""

    coefficients: Array
    offsets: Array


class Regression:
    """The equations of one training set, ready to be solved with any weights and any prior.

    (A class because the Gram matrices are made once and serve every choice.)

    Parameters
    ----------
    equations
        Of every structure.
    functions
        What the prior knows of the columns.
    groups
        The group of each structure: cross-validation leaves whole groups out.
    free_offsets
        Fit an energy for each element too, without any prior.
    """

    def __init__(
        self,
        equations: Sequence[Equations],
        functions: Functions,
        groups: Sequence[str],
        *,
        free_offsets: bool = False,
    ) -> None:
        self.functions = functions
        size = len(functions.order)
        self._groups = np.asarray(groups)
        folds = folds_of(groups)
        self._fold = np.zeros(len(groups), dtype=np.intp)
        for number, members in enumerate(folds):
            self._fold[members] = number
        self._number = len(folds)
        order = np.argsort(self._fold, kind="stable")
        counts = np.array([len(e.rest_label) for e in equations], dtype=np.intp)
        self._owner = np.repeat(order, counts[order])  # the structure of each row of the rest
        self.rest = np.vstack([np.zeros((0, size)), *(equations[n].rest for n in order)])
        self.rest_label = np.concatenate([np.zeros(0), *(equations[n].rest_label for n in order)])
        units = [
            np.ones(len(e.rest_label)) if e.rest_unit is None else e.rest_unit for e in equations
        ]
        self._rest_unit = np.concatenate([np.zeros(0), *(units[n] for n in order)])
        self._energy_unit = np.array([e.energy_unit for e in equations])
        self.energy = np.array([e.energy for e in equations]).reshape(-1, size)
        self.energy_label = np.array([e.energy_label for e in equations])
        self._says = np.any(self.energy != 0.0, axis=1)
        composition = np.array([e.composition for e in equations])
        self._composition = composition if free_offsets else composition[:, :0]
        edges = np.searchsorted(self._fold[self._owner], np.arange(self._number + 1))
        self._slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self._grams, self._moments = [], []
        for mine in self._slices:
            self._grams.append(self.rest[mine].T @ self.rest[mine])
            self._moments.append(self.rest[mine].T @ self.rest_label[mine])
        self._gram = np.sum(self._grams, axis=0)
        self._moment = np.sum(self._moments, axis=0)
        if not np.isfinite(self._gram).all() or not np.isfinite(self.energy).all():
            raise TrainerError(
                "a basis function is not finite: look for atoms on top of each other"
            )
        if not np.any(self._gram) and not np.any(self.energy):
            raise TrainerError(
                "nothing to fit: no atom of the training set has a neighbour within the cutoff"
            )
        rms = np.sqrt(np.diag(self._gram) / max(len(self.rest_label), 1))
        alone = np.sqrt(np.mean(self.energy**2, axis=0))
        rms = np.where(rms > 0.0, rms, alone)  # a function that only energies see
        self._inverse_rms = np.where(rms > 0.0, 1.0 / np.where(rms > 0.0, rms, 1.0), 0.0)

    def choose(
        self,
        method: Method,
        energy_weight: Wish = "auto",
        smoothness: Wish = "auto",
        ridge: Wish = "auto",
    ) -> Choice:
        """Return the best choice; what is a number is taken as it is.

        The ladders of energy weight and smoothness are climbed in turn until neither improves
        the score; the ridge's is scanned whole for each. With fewer than three groups nothing
        can be left out: evidence decides, and the energy weight is `DEFAULT_ENERGY_WEIGHT`. The
        energy weight is never chosen by evidence, which knows the labels' noise but not that
        people want energies far more exact than a sum of so few rows can claim.
        """
        if "auto" not in (energy_weight, smoothness, ridge):
            return Choice(float(energy_weight), float(smoothness), float(ridge), "the settings")
        few = self._number < _FEWEST_FOLDS
        if energy_weight == "auto" and few:
            energy_weight = DEFAULT_ENERGY_WEIGHT
        by_evidence = method == "evidence" or few
        if energy_weight == "auto" and by_evidence:
            found = self.choose("cross-validation", "auto", smoothness, ridge).energy_weight
            choice = self.choose("evidence", found, smoothness, ridge)
            words = "evidence, the energy weight by cross-validation"
            return replace(choice, chosen_by=words)
        assess: Callable[[float, float, Array], Choice]
        assess = self._evidence if by_evidence else self._left_out
        weights = ENERGY_WEIGHTS if energy_weight == "auto" else (float(energy_weight),)
        powers = SMOOTHNESS if smoothness == "auto" else (float(smoothness),)
        ridges = RIDGES if ridge == "auto" else np.array([float(ridge)])
        known: dict[tuple[int, int], Choice] = {}

        def at(place: tuple[int, int]) -> Choice:
            if place not in known:
                known[place] = assess(weights[place[0]], powers[place[1]], ridges)
            return known[place]

        place = (len(weights) // 2, min(1, len(powers) - 1))
        while True:
            around = [
                (w, p)
                for w, p in (
                    place,
                    *((place[0] + d, place[1]) for d in (-1, 1)),
                    *((place[0], place[1] + d) for d in (-1, 1)),
                )
                if 0 <= w < len(weights) and 0 <= p < len(powers)
            ]
            best = min(around, key=lambda where: at(where).score)
            if at(best).score >= at(place).score:
                return at(place)
            place = best

    def fit(self, choice: Choice, columns: NDArray[np.intp] | None = None) -> Fitted:
        """Solve by QR for the functions at `columns` (default: all; others get zero)."""
        scale = self._scale(choice.smoothness, columns)
        energy, label, comp = self._weighted_energies(np.ones(len(self.energy), dtype=bool))
        rows = np.vstack([choice.energy_weight * energy, self.rest])
        right = np.concatenate([choice.energy_weight * label, self.rest_label])
        found = solve_ridge(rows, right, scale, choice.ridge)
        if not np.isfinite(found).all():
            raise TrainerError("the least-squares solution is not finite: look for a broken label")
        return Fitted(found, self._offsets(self._says, found, comp))

    def log_evidence(self, choice: Choice, columns: NDArray[np.intp] | None = None) -> float:
        """Return the log evidence of a choice in the functions at `columns` (default: all)."""
        return -float(
            self._evidence(
                choice.energy_weight, choice.smoothness, np.array([choice.ridge]), columns
            ).score
        )

    def best_ridge(self, choice: Choice, columns: NDArray[np.intp]) -> Choice:
        """Return `choice` with the ridge of the highest evidence for some of the functions."""
        return self._evidence(choice.energy_weight, choice.smoothness, RIDGES, columns)

    def _scale(self, smoothness: float, columns: NDArray[np.intp] | None) -> Array:
        scale = self._inverse_rms * self.functions.prior(smoothness)
        if columns is not None:
            kept = np.zeros(len(scale), dtype=bool)
            kept[columns] = True
            scale = np.where(kept, scale, 0.0)
        return scale

    def _weighted_energies(self, kept: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """Return energy rows and labels without what free offsets explain, and composition."""
        kept = kept & self._says
        energy, label, comp = self.energy[kept], self.energy_label[kept], self._composition[kept]
        if comp.shape[1]:
            basis = np.linalg.qr(comp)[0]
            energy = energy - basis @ (basis.T @ energy)
            label = label - basis @ (basis.T @ label)
        return energy, label, comp

    def _offsets(self, kept: NDArray[np.bool_], found: Array, comp: Array) -> Array:
        """Return the elements' energies that go with coefficients (F, or F x several)."""
        if comp.shape[1] == 0:
            return np.zeros((0, *found.shape[1:]))
        label = self.energy_label[kept & self._says]
        wrong = (label if found.ndim == 1 else label[:, None]) - self.energy[
            kept & self._says
        ] @ found
        return np.asarray(np.linalg.lstsq(comp, wrong, rcond=None)[0])

    def _evidence(
        self,
        energy_weight: float,
        smoothness: float,
        ridges: Array,
        columns: NDArray[np.intp] | None = None,
    ) -> Choice:
        energy, label, comp = self._weighted_energies(np.ones(len(self.energy), dtype=bool))
        scale = self._scale(smoothness, columns)
        some = np.flatnonzero(scale)
        values, projected = _spectrum(
            self._gram[np.ix_(some, some)]
            + energy_weight**2 * (energy[:, some].T @ energy[:, some]),
            (self._moment + energy_weight**2 * (energy.T @ label))[some],
            scale[some],
        )[:2]
        count = len(self.rest_label) + len(label) - comp.shape[1]
        square = float(self.rest_label @ self.rest_label + energy_weight**2 * (label @ label))
        strengths = np.maximum(ridges, 1e-16) * (len(self.rest_label) + len(label))
        shrunk = values[:, None] + strengths
        misfit = np.maximum(
            square - np.sum(projected[:, None] ** 2 / shrunk, axis=0), _NEGLIGIBLE**2 * square
        )
        # -log of the evidence; the weights are part of the likelihood: p(y) = w^n p(w y)
        score = (
            0.5 * count * np.log(misfit / count)
            + 0.5 * np.sum(np.log1p(values[:, None] / strengths), axis=0)
            - len(label) * np.log(energy_weight if energy_weight > 0 else 1.0)
        )
        best = int(np.argmin(score))
        return Choice(
            energy_weight, smoothness, float(ridges[best]), "evidence", float(score[best])
        )

    def _left_out(self, energy_weight: float, smoothness: float, ridges: Array) -> Choice:
        scale = self._scale(smoothness, None)
        some = np.flatnonzero(scale)
        wrong_energy = np.zeros((len(self.energy), len(ridges)))
        names, group = np.unique(self._groups, return_inverse=True)
        wrong_rest = np.zeros((len(names), len(ridges)))
        for number, mine in enumerate(self._slices):
            kept = self._fold != number
            energy, label, comp = self._weighted_energies(kept)
            gram = self._gram - self._grams[number]
            gram = gram + energy_weight**2 * (energy.T @ energy)
            moment = self._moment - self._moments[number] + energy_weight**2 * (energy.T @ label)
            values, projected, vectors = _spectrum(
                gram[np.ix_(some, some)], moment[some], scale[some]
            )
            count = len(self.rest_label) - (mine.stop - mine.start) + len(label)
            trial = np.zeros((len(scale), len(ridges)))
            trial[some] = scale[some, None] * (
                vectors
                @ (projected[:, None] / (values[:, None] + np.maximum(ridges, 1e-16) * count))
            )
            out = ~kept
            known = self._composition[out] @ self._offsets(kept, trial, comp)
            wrong_energy[out] = self.energy[out] @ trial + known - self.energy_label[out][:, None]
            wrong = np.abs(self.rest[mine] @ trial - self.rest_label[mine][:, None])
            wrong /= self._rest_unit[mine][:, None]
            np.add.at(wrong_rest, group[self._owner[mine]], wrong)
        wrong_energy = np.abs(wrong_energy) / self._energy_unit[:, None]
        score = self._score(wrong_energy, wrong_rest, group)
        best = int(np.argmin(score))
        return Choice(
            energy_weight,
            smoothness,
            float(ridges[best]),
            f"{self._number}-fold cross-validation over groups",
            float(score[best]),
            float(wrong_energy[self._says, best].mean()) if self._says.any() else None,
            float(wrong_rest[:, best].sum() / max(len(self.rest_label), 1)),
        )

    def _score(self, wrong_energy: Array, wrong_rest: Array, group: NDArray[np.intp]) -> Array:
        """Return the mean of log(energy MAE) + log(rest MAE) over groups, by ridge.

        A geometric mean: each group speaks for how much better or worse it gets, so that the
        only dimer scan, which nothing else can predict, does not decide alone.
        """
        number = len(wrong_rest)
        rows = np.bincount(group[self._owner], minlength=number)
        told = np.bincount(group[self._says], minlength=number)
        energies = np.zeros((number, wrong_energy.shape[1]))
        np.add.at(energies, group[self._says], wrong_energy[self._says])
        members = np.bincount(group, minlength=number)
        floors = [
            _NEGLIGIBLE * float(np.sqrt(np.mean(label**2))) if len(label) else 0.0
            for label in (
                (self.energy_label / self._energy_unit)[self._says],
                self.rest_label / self._rest_unit,
            )
        ]
        total = np.zeros(wrong_energy.shape[1])
        for sums, counts, floor in ((energies, told, floors[0]), (wrong_rest, rows, floors[1])):
            some = counts > 0
            if some.any():
                means = np.log(sums[some] / counts[some, None] + floor + 1e-300)
                total += members[some] @ means / members[some].sum()
        return total


def _spectrum(gram: Array, moment: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Return eigenvalues, the moment along eigenvectors, and these, of the scaled system."""
    values, vectors = eigh(scale[:, None] * gram * scale, driver="evd", check_finite=False)
    return np.maximum(values, 0.0), vectors.T @ (scale * moment), vectors
