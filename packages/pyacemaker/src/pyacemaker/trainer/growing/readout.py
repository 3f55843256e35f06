"""The linear part, solved: a ridge regression to what the blocks leave of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from pyacemaker.provenance import KEY
from pyacemaker.trainer.growing.batches import Batch, predict
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.solve import Solution, solve
from pyacemaker.trainer.targets import name_of
from rootstock.environments.esper_env import Function

Array = NDArray[np.float64]


def solve_readout(
    model: GrowingNetworks,
    batches: Sequence[Batch],
    structures: Sequence[Atoms],
    ridge: Literal["auto"] | float,
) -> Solution:
    """Replace the linear weights by the least-squares solution beside the blocks as they are.

    The `ridge`'s strength is chosen as the linear trainer does, or given. Raises TrainerError.
    """
    with torch.no_grad():
        for network in model.networks():
            network.linear.zero_()
    parts, rights = zip(*(_rows(model, batch) for batch in batches), strict=True)
    matrix, right = np.concatenate(parts), np.concatenate(rights)
    groups: list[str] = []
    for index, (atoms, batch_rows) in enumerate(zip(structures, _counts(batches), strict=True)):
        group = atoms.info.get(KEY, {}).get("group", name_of(atoms, index))
        groups += [str(group)] * batch_rows
    prior = np.tile(prior_of(model.functions), len(model.elements))
    solution = solve(matrix, right, groups, ridge, prior)
    size = len(model.functions)
    with torch.no_grad():
        for z, network in enumerate(model.networks()):
            part = solution.coefficients[z * size : (z + 1) * size]
            network.linear.copy_(torch.from_numpy(part.copy()))
    return solution


def prior_of(functions: Sequence[Function]) -> Array:
    """Return the expected relative contribution of each function, as the linear trainer's."""
    return np.array(
        [1.0 / sum(n + d for _, n, d in f) / 2.0 ** (len(f) - 1) for f in functions]
    )  # fmt: skip


def _counts(batches: Sequence[Batch]) -> list[int]:
    """Return the rows each structure has: energy, forces, stress (also where it weighs nothing)."""
    return [
        1 + 3 * int((batch.owner == n).sum()) + 6
        for batch in batches
        for n in range(batch.structures)
    ]


def _rows(model: GrowingNetworks, batch: Batch) -> tuple[Array, Array]:
    """Return weighted rows by (element, function) and right-hand sides, structure by structure."""
    found = predict(model, batch, train=False)
    left = [
        ((batch.energy - found.energy) * batch.on_energy).detach().numpy(),
        ((batch.forces - found.forces) * batch.on_forces[:, None]).detach().numpy(),
        ((batch.stress - found.stress) * batch.on_stress[:, None]).detach().numpy(),
    ]
    elements, size = len(model.elements), batch.X.shape[1]
    kinds, owner = batch.kinds.numpy(), batch.owner.numpy()
    energy = np.zeros((batch.structures, elements, size))
    np.add.at(energy, (owner, kinds), batch.X.numpy())
    virial = np.zeros((batch.structures, 6, elements, size))
    for z in range(elements):
        mine = kinds == z
        np.add.at(virial[:, :, z], owner[mine], batch.strain.numpy()[mine])
    forces = np.zeros((len(kinds), elements, 3, size))
    centre, moved = batch.centre.numpy(), batch.moved.numpy()
    np.subtract.at(forces, (moved, kinds[centre]), batch.slopes.numpy())
    energy *= batch.on_energy.numpy()[:, None, None]
    on_forces = batch.on_forces.numpy()[:, None, None]
    virial *= (batch.on_stress / batch.volume).numpy()[:, None, None, None]
    by_atom = forces.transpose(0, 2, 1, 3).reshape(len(kinds), 3, -1) * on_forces
    rows, right = [], []
    for n in range(batch.structures):
        mine = owner == n
        rows += [
            energy[n].reshape(1, -1),
            by_atom[mine].reshape(-1, elements * size),
            virial[n].reshape(6, -1),
        ]
        right += [left[0][n : n + 1], left[1][mine].ravel(), left[2][n]]
    return np.concatenate(rows), np.concatenate(right)
