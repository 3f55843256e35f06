"""What the fit sees of a label: the label minus isolated atoms minus baseline, and its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from pyacemaker.core_weight import core_weights, is_embedded
from pyacemaker.provenance import KEY
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.baseline import ZblBaseline, baseline_of
from pyacemaker.trainer.hull import energies_above_hull
from pyacemaker.trainer.settings import TrainerSettings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """The residual of one label and the weights of its rows.

    `energy` (eV, whole structure), `forces` (N x 3, eV/angstrom), `stress` (6,
    eV/angstrom^3; None where the label has none or the cell is not periodic in space).
    (For the force weights of an embedded cell, times its core weights; its energy and stress
    contain seams that the material has not: `energy_weight` is 0 and `stress` None.)
    `cohesive_energy` (eV/atom) is the label's energy above isolated atoms. `weight` (of all
    rows) and `force_weights` (N) are the softening factors, at most 1 (see `soften`).
    """

    energy: float
    forces: Array
    stress: Array | None
    cohesive_energy: float
    weight: float
    force_weights: Array
    energy_weight: float = 1.0


def name_of(atoms: Atoms, index: int) -> str:
    """Name a structure for a message: its place, formula and group."""
    group = atoms.info.get(KEY, {}).get("group")
    return f"structure {index} ({atoms.get_chemical_formula()}{f', {group}' if group else ''})"


def fit_targets(
    train: Sequence[Atoms],
    validation: Sequence[Atoms],
    reference_energies: Mapping[str, float],
    settings: TrainerSettings,
) -> tuple[list[str], ZblBaseline, list[Target]]:
    """Return the elements (sorted), the baseline and the targets of a training set.

    A bad label of the validation set is refused now too, and not after the fit. Raises
    TrainerError, also where there is nothing to train on.
    """
    if not train:
        raise TrainerError("the training set is empty: label structures first")
    elements = sorted(reference_energies)
    baseline = baseline_of(settings.baseline, elements)
    targets = targets_of(train, reference_energies, baseline, settings)
    targets_of(validation, reference_energies, baseline, settings)
    return elements, baseline, targets


def targets_of(
    structures: Sequence[Atoms],
    reference_energies: Mapping[str, float],
    baseline: ZblBaseline,
    settings: TrainerSettings,
) -> list[Target]:
    """Return the target of every labelled structure.

    The softening counts from the lower convex hull of `structures` themselves: from the most
    stable mixture of phases of the same composition. Raises TrainerError naming the structure
    that lacks a label or whose label is not finite, and the element without a reference energy.
    """
    raw = [_labels(atoms, n, reference_energies) for n, atoms in enumerate(structures)]
    cohesive = [
        (energy - sum(reference_energies[s] for s in atoms.get_chemical_symbols())) / len(atoms)
        for atoms, (energy, _, _) in zip(structures, raw, strict=True)
    ]
    excesses = _above_hull(structures, cohesive)
    targets = []
    for atoms, (_, forces, label_stress), above, excess in zip(
        structures, raw, cohesive, excesses, strict=True
    ):
        pairs = baseline.compute(atoms)
        stress = None
        embedded = is_embedded(atoms)
        if label_stress is not None and not embedded:
            virial = full_3x3_to_voigt_6_stress(pairs.virial)
            stress = label_stress - virial / atoms.get_volume()
        strength = np.linalg.norm(forces, axis=1)
        targets.append(
            Target(
                energy=above * len(atoms) - pairs.energy,
                forces=forces - pairs.forces,
                stress=stress,
                cohesive_energy=above,
                weight=1.0 / (1.0 + excess / settings.soft_energy_eV),
                force_weights=core_weights(atoms) / (1.0 + strength / settings.soft_force_eV_per_A),
                energy_weight=0.0 if embedded else 1.0,
            )
        )
    return targets


def _above_hull(structures: Sequence[Atoms], cohesive: Sequence[float]) -> Array:
    """Return each structure's energy above the hull of all (eV/atom).

    Zero for an embedded cell: its energy tells of its seams, not of how far from order its
    core is.
    """
    if not structures:
        return np.zeros(0)
    elements = sorted({s for atoms in structures for s in atoms.get_chemical_symbols()})
    shares = np.array([shares_of(atoms, elements) for atoms in structures])
    whole = np.array([not is_embedded(atoms) for atoms in structures])
    above = energies_above_hull(shares, np.asarray(cohesive), np.flatnonzero(whole))
    return np.where(whole, above, 0.0)


def shares_of(atoms: Atoms, elements: Sequence[str]) -> Array:
    """Return the share of each element among the atoms."""
    symbols = np.array(atoms.get_chemical_symbols())
    return np.array([np.mean(symbols == element) for element in elements])


def _labels(
    atoms: Atoms, index: int, reference_energies: Mapping[str, float]
) -> tuple[float, Array, Array | None]:
    name = name_of(atoms, index)
    missing = sorted(set(atoms.get_chemical_symbols()) - set(reference_energies))
    if missing:
        raise TrainerError(f"{name}: no isolated-atom energy for {', '.join(missing)}")
    if len(atoms) == 0:
        raise TrainerError(f"structure {index} has no atoms")
    results = atoms.calc.results if atoms.calc is not None else {}
    for wanted in ("energy", "forces"):
        if results.get(wanted) is None:
            raise TrainerError(f"{name} carries no {wanted}: label it before the fit")
    energy = float(results["energy"])
    forces = np.asarray(results["forces"], dtype=float)
    if forces.shape != (len(atoms), 3):
        raise TrainerError(f"{name}: forces have the shape {forces.shape}, not ({len(atoms)}, 3)")
    stress = results.get("stress")
    if stress is not None and atoms.cell.rank == 3:
        stress = np.asarray(stress, dtype=float)
        if stress.shape == (3, 3):
            stress = full_3x3_to_voigt_6_stress(stress)
    else:
        stress = None
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        raise TrainerError(f"{name}: its energy or a force is not finite")
    if stress is not None and not np.isfinite(stress).all():
        raise TrainerError(f"{name}: its stress is not finite")
    return energy, forces, stress
