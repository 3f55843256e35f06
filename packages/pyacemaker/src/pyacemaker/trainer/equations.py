"""The equations of a linear fit: rows, labels and weights of every structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import GPa
from pyace.basis import ACEBBasisSet

from pyacemaker.provenance import KEY
from pyacemaker.trainer.design import Rows
from pyacemaker.trainer.regression import Equations, Functions
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target, name_of, shares_of


def equations_of(
    structures: Sequence[Atoms],
    rows: Sequence[Rows],
    targets: Sequence[Target],
    elements: Sequence[str],
    settings: TrainerSettings,
) -> list[Equations]:
    """Return the weighted equations of each structure; see `LinearTrainer` for the loss."""
    equations = []
    for atoms, row, target in zip(structures, rows, targets, strict=True):
        on_energy = target.energy_weight * target.weight
        on_forces = np.repeat(settings.force_weight * target.weight * target.force_weights, 3)
        blocks = [on_forces[:, None] * row.forces.reshape(-1, len(row.energy))]
        labels = [on_forces * target.forces.ravel()]
        if target.stress is not None and row.virial is not None:
            on_stress = settings.stress_weight * target.weight / GPa
            blocks.append(on_stress / atoms.get_volume() * row.virial)
            labels.append(on_stress * target.stress)
        equations.append(
            Equations(
                energy=on_energy / len(atoms) * row.energy,
                energy_label=on_energy / len(atoms) * target.energy,
                rest=np.vstack(blocks),
                rest_label=np.concatenate(labels),
                composition=on_energy * shares_of(atoms, elements),
            )
        )
    return equations


def groups_of(structures: Sequence[Atoms]) -> list[str]:
    """Return the group of each structure; one without a group is a group of its own."""
    return [
        str(atoms.info.get(KEY, {}).get("group", name_of(atoms, index)))
        for index, atoms in enumerate(structures)
    ]


def functions_of(basis: ACEBBasisSet) -> Functions:
    """Return what the prior knows of a basis's functions, element by element."""
    functions = [
        f
        for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
        for f in [*single, *many]
    ]
    return Functions(
        np.array([sum(f.ns) + sum(f.ls) for f in functions], dtype=float),
        np.array([len(f.ns) for f in functions], dtype=float),
    )
