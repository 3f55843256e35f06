"""Labelled structures as tensors: what one step of training works on, made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray
from torch import Tensor

from pyacemaker.trainer.growing.environments import Environment
from pyacemaker.trainer.growing.network import GrowingNetworks
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Several structures together. Descriptors are divided by the networks' scale.

    Weights multiply residuals: `on_energy` (n, per eV), `on_forces` (N, per eV/angstrom),
    `on_stress` (n, per eV/angstrom^3; 0 where there is no stress). `counts` (N, at most 1) is how
    much an atom's forces count among all: the softening of strained structures and strong forces.
    `rows` counts residuals.
    """

    X: Tensor
    slopes: Tensor
    centre: Tensor
    moved: Tensor
    strain: Tensor
    kinds: Tensor
    owner: Tensor
    volume: Tensor
    energy: Tensor
    forces: Tensor
    stress: Tensor
    on_energy: Tensor
    on_forces: Tensor
    on_stress: Tensor
    counts: Tensor
    rows: int

    @property
    def structures(self) -> int:
        """How many structures it holds."""
        return len(self.energy)


@dataclass(frozen=True)
class Predicted:
    """Energies (n, eV), forces (N x 3, eV/angstrom), stresses (n x 6, eV/angstrom^3)."""

    energy: Tensor
    forces: Tensor
    stress: Tensor


def batches_of(
    structures: Sequence[Atoms],
    environments: Sequence[Environment],
    targets: Sequence[Target],
    scale: Array,
    settings: TrainerSettings,
    size: int,
) -> list[Batch]:
    """Return the structures in batches of `size`, in their order."""
    return [
        _batch(structures[n : n + size], environments[n : n + size], targets[n : n + size], scale,
               settings)
        for n in range(0, len(structures), size)
    ]  # fmt: skip


def predict(model: GrowingNetworks, batch: Batch, *, train: bool) -> Predicted:
    """Return energies, and forces and stresses as their exact derivatives.

    With `train` the result can be differentiated by the weights.
    """
    X = batch.X.detach().requires_grad_()
    with torch.enable_grad():
        by_atom = model(X, batch.kinds)
        (slope,) = torch.autograd.grad(by_atom.sum(), X, create_graph=train)
    energy = by_atom.new_zeros(batch.structures).index_add(0, batch.owner, by_atom)
    pull = torch.bmm(batch.slopes, slope[batch.centre][:, :, None])[:, :, 0]
    forces = by_atom.new_zeros(len(X), 3).index_add(0, batch.moved, -pull)
    strained = torch.bmm(batch.strain, slope[:, :, None])[:, :, 0]
    virial = by_atom.new_zeros(batch.structures, 6).index_add(0, batch.owner, strained)
    return Predicted(energy, forces, virial / batch.volume[:, None])


def squares(batch: Batch, found: Predicted) -> Tensor:
    """Return the sum of squared weighted residuals."""
    return (
        ((found.energy - batch.energy) * batch.on_energy).square().sum()
        + ((found.forces - batch.forces) * batch.on_forces[:, None]).square().sum()
        + ((found.stress - batch.stress) * batch.on_stress[:, None]).square().sum()
    )


def _batch(
    structures: Sequence[Atoms],
    environments: Sequence[Environment],
    targets: Sequence[Target],
    scale: Array,
    settings: TrainerSettings,
) -> Batch:
    starts = np.cumsum([0, *(len(atoms) for atoms in structures)])
    kinds = np.concatenate([e.kinds for e in environments])
    by_atom = scale[kinds]
    owner = np.repeat(np.arange(len(structures)), np.diff(starts))
    centre = np.concatenate([e.centre + s for e, s in zip(environments, starts[:-1], strict=True)])
    moved = np.concatenate([e.moved + s for e, s in zip(environments, starts[:-1], strict=True)])
    slopes = np.concatenate([e.slopes for e in environments])
    slopes /= by_atom[centre][:, None, :]
    forces_weight = np.concatenate([t.weight * t.force_weights for t in targets])
    stresses = [np.zeros(6) if t.stress is None else t.stress for t in targets]
    has_stress = np.array([t.stress is not None for t in targets])
    weights = np.array([t.weight for t in targets])
    sizes = np.diff(starts)
    periodic = [atoms.cell.rank == 3 for atoms in structures]
    volume = [a.get_volume() if p else 1.0 for a, p in zip(structures, periodic, strict=True)]

    def tensor(values: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float64))

    return Batch(
        X=tensor(np.concatenate([e.B for e in environments]) / by_atom),
        slopes=tensor(slopes),
        centre=torch.as_tensor(centre),
        moved=torch.as_tensor(moved),
        strain=tensor(np.concatenate([e.strain for e in environments]) / by_atom[:, None, :]),
        kinds=torch.as_tensor(kinds),
        owner=torch.as_tensor(owner),
        volume=tensor(np.array(volume)),
        energy=tensor(np.array([t.energy for t in targets])),
        forces=tensor(np.concatenate([t.forces for t in targets])),
        stress=tensor(np.array(stresses)),
        on_energy=tensor(
            settings.energy_weight * weights * np.array([t.energy_weight for t in targets]) / sizes
        ),
        on_forces=tensor(settings.force_weight * forces_weight),
        on_stress=tensor(settings.stress_weight * weights / GPa * has_stress),
        counts=tensor(forces_weight),
        rows=int(len(structures) + 3 * len(kinds) + 6 * has_stress.sum()),
    )
