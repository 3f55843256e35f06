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
from pyacemaker.trainer.regression import Choice, Equations, Functions, Regression
from pyacemaker.trainer.targets import name_of

Array = NDArray[np.float64]

SMOOTHNESS = 1.0  # power of n + l in the prior, as the linear trainer's is by default


def solve_readout(
    model: GrowingNetworks,
    batches: Sequence[Batch],
    structures: Sequence[Atoms],
    ridge: Literal["auto"] | float,
) -> Choice:
    """Replace the linear weights by the least-squares solution beside the blocks as they are.

    The `ridge`'s strength is chosen as the linear trainer does, or given. Raises TrainerError.
    """
    with torch.no_grad():
        for network in model.networks():
            network.linear.zero_()
    equations = [one for batch in batches for one in _equations(model, batch)]
    groups = [
        str(atoms.info.get(KEY, {}).get("group", name_of(atoms, index)))
        for index, atoms in enumerate(structures)
    ]
    regression = Regression(equations, _known(model), groups)
    # The batches carry the weights already, of energies too.
    choice = regression.choose("cross-validation", 1.0, SMOOTHNESS, ridge)
    coefficients = regression.fit(choice).coefficients
    size = len(model.functions)
    with torch.no_grad():
        for z, network in enumerate(model.networks()):
            part = coefficients[z * size : (z + 1) * size]
            network.linear.copy_(torch.from_numpy(part.copy()))
    return choice


def _known(model: GrowingNetworks) -> Functions:
    """Return what the prior knows of every (element, function)."""
    return Functions(
        np.tile([float(sum(n + d for _, n, d in f)) for f in model.functions], len(model.elements)),
        np.tile([float(len(f)) for f in model.functions], len(model.elements)),
    )


def _equations(model: GrowingNetworks, batch: Batch) -> list[Equations]:
    """Return the weighted rows by (element, function) of every structure of a batch."""
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
    found_equations = []
    for n in range(batch.structures):
        mine = owner == n
        found_equations.append(
            Equations(
                energy=energy[n].ravel(),
                energy_label=float(left[0][n]),
                rest=np.concatenate(
                    [by_atom[mine].reshape(-1, elements * size), virial[n].reshape(6, -1)]
                ),
                rest_label=np.concatenate([left[1][mine].ravel(), left[2][n]]),
                composition=np.zeros(0),
            )
        )
    return found_equations
