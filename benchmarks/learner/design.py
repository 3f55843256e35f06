"""Design matrices of mlearn structures, built by a pool of processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet
from pyace.multispecies_basisextension import create_multispecies_basis_config

from pyacemaker.trainer.gradients import BasisGradients

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Basis:
    """One choice of basis: what is compared by cross-validation."""

    element: str
    cutoff_A: float
    functions: int
    radial: str = "SBessel"
    nmax: tuple[int, ...] = (16, 8, 5, 3, 2)
    lmax: tuple[int, ...] = (0, 6, 4, 3, 1)

    def configuration(self) -> dict[str, Any]:
        """Return it as pyace reads it."""
        embedding = {"npot": "FinnisSinclairShiftedScaled", "ndensity": 1, "fs_parameters": [1, 1]}
        bond = {
            "radbase": self.radial,
            "radparameters": [5.25],
            "rcut": self.cutoff_A,
            "dcut": 0.01,
            "NameOfCutoffFunction": "cos",
            "core-repulsion": [0.0, 5.0],
        }
        return {
            "deltaSplineBins": 0.001,
            "elements": [self.element],
            "embeddings": {"ALL": {**embedding, "rho_core_cut": 200000, "drho_core_cut": 250}},
            "bonds": {"ALL": bond},
            "functions": {
                "number_of_functions_per_element": self.functions,
                "UNARY": {
                    "nradmax_by_orders": list(self.nmax),
                    "lmax_by_orders": list(self.lmax),
                },
            },
        }

    def build(self) -> ACEBBasisSet:
        """Return it as a pyace basis, all coefficients zero."""
        return ACEBBasisSet(create_multispecies_basis_config(self.configuration()))


@dataclass(frozen=True)
class Design:
    """Rows of energies (structures x F+1, per atom; the last column is one) and of forces.

    `forces` has one matrix for each structure (3 N x F, single precision); `complexity` (F)
    is the sum of n and l of each function and `order` its number of neighbours.
    """

    energy: Array
    forces: list[NDArray[np.float32]]
    complexity: Array
    order: Array


_gradients: BasisGradients | None = None


def _start(basis: Basis) -> None:
    global _gradients  # noqa: PLW0603 - one table for each worker, made once
    _gradients = BasisGradients(basis.build())


def _rows(atoms: Atoms) -> tuple[Array, NDArray[np.float32]]:
    assert _gradients is not None
    (projections,), forces, _ = _gradients.compute(atoms)
    per_atom = projections.sum(axis=0) / len(atoms)
    return per_atom, forces.reshape(-1, forces.shape[-1]).astype(np.float32)


def design_of(structures: Sequence[Atoms], basis: Basis, workers: int | None = None) -> Design:
    """Return the design matrix of `structures`, computed by `workers` processes."""
    plain = [Atoms(a.symbols, positions=a.positions, cell=a.cell, pbc=a.pbc) for a in structures]
    number = workers or min(os.cpu_count() or 1, 8)
    with ProcessPoolExecutor(
        number, mp_context=get_context("fork"), initializer=_start, initargs=(basis,)
    ) as pool:
        parts = list(pool.map(_rows, plain, chunksize=4))
    built = basis.build()
    functions = [*built.basis_rank1[0], *built.basis[0]]
    energy = np.array([np.append(part[0], 1.0) for part in parts])
    return Design(
        energy,
        [part[1] for part in parts],
        np.array([sum(f.ns) + sum(f.ls) for f in functions], dtype=float),
        np.array([len(f.ns) for f in functions], dtype=float),
    )
