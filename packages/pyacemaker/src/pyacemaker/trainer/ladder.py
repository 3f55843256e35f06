"""A basis that grows with the labels: the rung that the evidence says is worth its functions.

A rung holds the functions up to a number of neighbours in a term (body order) or up to a sum of n
and l (power order), as pacemaker's ladder does (Bochkarev et al., Phys. Rev. Mater. 6, 013804
(2022)). There each rung is a fit of its own; here all rungs share the rows and the Gram matrix of
the whole basis, so that trying them takes eigendecompositions only. The prior keeps complex
functions small, so that the evidence alone hardly ever objects to more of them; what a rung
must bring is `WORTH` nats for each function that molecular dynamics will have to evaluate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.regression import Choice, Functions, Regression

Kind = Literal["body-order", "power-order"]

WORTH = 0.5  # nats of log evidence that a function must bring: between nothing and Akaike's one
_FIRST_SHARE, _GROWTH = 0.08, 1.5  # of the functions, from rung to rung of the power order


@dataclass(frozen=True)
class Rung:
    """Places of its functions, what bounds it, and the log evidence of the labels in it."""

    columns: NDArray[np.intp]
    bound: float
    log_evidence: float
    choice: Choice


def climb(regression: Regression, choice: Choice, kind: Kind) -> tuple[Rung, list[Rung]]:
    """Return the rung of the highest log evidence less `WORTH` for each function, and all."""
    rungs = []
    for bound, columns in bounds_of(regression.functions, kind):
        best = regression.best_ridge(choice, columns)
        rungs.append(Rung(columns, bound, -best.score, best))
    return max(rungs, key=lambda rung: rung.log_evidence - WORTH * len(rung.columns)), rungs


def bounds_of(functions: Functions, kind: Kind) -> list[tuple[float, NDArray[np.intp]]]:
    """Return the bound and the functions' places of each rung, each holding the one before."""
    values = functions.order if kind == "body-order" else functions.complexity
    levels = np.unique(values)
    rungs = []
    wanted = 0.0 if kind == "body-order" else _FIRST_SHARE * len(values)
    for level in levels:
        columns = np.flatnonzero(values <= level)
        if len(columns) >= wanted or level == levels[-1]:
            rungs.append((float(level), columns))
            wanted = 0.0 if kind == "body-order" else _GROWTH * len(columns)
    return rungs


def reduced(basis: ACEBBasisSet, columns: NDArray[np.intp]) -> ACEBBasisSet:
    """Return a basis of the functions at `columns` alone, in the same order."""
    mark = np.zeros(len(basis.basis_coeffs))
    mark[columns] = 1.0
    marked = ACEBBasisSet(basis.to_BBasisConfiguration())
    marked.basis_coeffs = mark
    configuration = marked.to_BBasisConfiguration()
    blocks = configuration.funcspecs_blocks
    for block in blocks:
        block.funcspecs = [f for f in block.funcspecs if any(f.coeffs)]
    configuration.funcspecs_blocks = blocks
    smaller = ACEBBasisSet(configuration)
    names = _names(basis)
    if _names(smaller) != [names[column] for column in columns]:
        raise TrainerError("a basis cut to a rung of the ladder is not in order: a defect")
    return smaller


def described(rungs: list[Rung]) -> list[dict[str, float]]:
    """Return the rungs as plain numbers."""
    return [
        {"bound": r.bound, "functions": len(r.columns), "log_evidence": r.log_evidence}
        for r in rungs
    ]


def _names(basis: ACEBBasisSet) -> list[tuple[Any, ...]]:
    return [
        (f.mu0, tuple(f.mus), tuple(f.ns), tuple(f.ls), tuple(f.LS))
        for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
        for f in [*single, *many]
    ]
