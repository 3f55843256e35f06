"""The descriptors of labelled structures and their exact derivatives, as a fit needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.targets import name_of
from rootstock.environments.esper_env import Descriptor, EsperError

Array = NDArray[np.float64]

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Environment:
    """One structure seen by a descriptor of F functions.

    `B` (N x F); `slopes` (b x 3 x F): the derivative of B of atom `centre[b]` by the position of
    atom `moved[b]`, itself included; `strain` (N x 6 x F): by the strain (Voigt, as ASE's
    stress); `kinds` (N): each atom's element as an index.
    """

    B: Array
    slopes: Array
    centre: NDArray[np.intp]
    moved: NDArray[np.intp]
    strain: Array
    kinds: NDArray[np.intp]


def environments_of(descriptor: Descriptor, structures: Sequence[Atoms]) -> list[Environment]:
    """Return the environments of `structures`. Raises TrainerError naming what cannot be taken."""
    found = []
    for index, atoms in enumerate(structures):
        try:
            found.append(environment_of(descriptor, atoms))
        except EsperError as error:
            raise TrainerError(f"{name_of(atoms, index)} cannot be fitted: {error}") from error
    return found


def environment_of(descriptor: Descriptor, atoms: Atoms) -> Environment:
    """Return descriptors and derivatives of one structure."""
    pairs, kinds = descriptor.neighbours(atoms)
    base = descriptor.base(pairs, kinds)
    B = descriptor.values(base)
    count, size = B.shape
    strain = np.zeros((count, 6, size))
    slopes, centre, moved = [], [], []
    first = np.searchsorted(pairs.i, np.arange(count + 1))
    for atom in range(count):
        near = slice(int(first[atom]), int(first[atom + 1]))
        if near.start == near.stop:
            continue
        turn = descriptor.pair_slopes(base, near)  # p x 3 x V
        by_pair = (
            turn.reshape(-1, descriptor.width) @ descriptor.function_slopes(base.values[atom]).T
        )
        by_pair = by_pair.reshape(-1, 3, size)
        vectors = pairs.vector[near]
        for row, (a, b) in enumerate(_VOIGT):
            strain[atom, row] = 0.5 * (
                vectors[:, a] @ by_pair[:, b] + vectors[:, b] @ by_pair[:, a]
            )
        others, place = np.unique(np.r_[pairs.j[near], atom], return_inverse=True)
        summed = np.zeros((len(others), 3, size))
        np.add.at(summed, place[:-1], by_pair)
        summed[place[-1]] -= by_pair.sum(axis=0)
        slopes.append(summed)
        centre.append(np.full(len(others), atom, dtype=np.intp))
        moved.append(others)
    empty = np.zeros(0, dtype=np.intp)
    return Environment(
        B,
        np.concatenate([np.zeros((0, 3, size)), *slopes]),
        np.concatenate([empty, *centre]),
        np.concatenate([empty, *moved]),
        strain,
        kinds,
    )


def scales_of(environments: Sequence[Environment], elements: int) -> tuple[Array, Array]:
    """Return mean and standard deviation (elements x F each) of the descriptors.

    A function that hardly varies gets a hundredth of its size, or of the median; 1 at last.
    """
    size = environments[0].B.shape[1]
    shift, scale = np.zeros((elements, size)), np.ones((elements, size))
    for z in range(elements):
        rows = np.concatenate([e.B[e.kinds == z] for e in environments])
        if len(rows) == 0:
            continue
        shift[z] = rows.mean(axis=0)
        spread, usual = rows.std(axis=0), np.sqrt(np.mean(rows**2, axis=0))
        floor = 1e-2 * np.maximum(usual, 1e-3 * max(float(np.median(usual)), 1e-12))
        scale[z] = np.maximum(spread, floor)
    return shift, scale
