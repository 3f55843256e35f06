"""From a displaced minimum up to a saddle point, by ASE's dimer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.mep import DimerControl, MinModeAtoms, MinModeTranslate

from pyacemaker.dynamics.kmc.geometry import Array, coordination, free_atoms
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError
from pyacemaker.dynamics.kmc.settings import KMCSettings

# A search this many times the highest barrier up has left what happens at any temperature.
_FAR_TOO_HIGH = 5.0


@dataclass(frozen=True)
class Saddle:
    """A converged saddle point: positions, energy (eV), and the direction downhill (N x 3)."""

    atoms: Atoms
    energy_eV: float
    mode: Array
    gamma: float | None


def random_start(state: Atoms, rng: np.random.Generator, settings: KMCSettings) -> Array:
    """Return displacements (N x 3, angstrom) to begin a search with.

    One atom is drawn, atoms with fewer neighbours than the most have rather (twice as often
    for each neighbour that is missing); it and the free atoms near it move at random.
    """
    free = free_atoms(state)
    counts = coordination(state)[free]
    weights = np.exp2(counts.max() - counts.astype(float)) - 1.0
    if weights.sum() == 0:
        weights = np.ones(len(free))
    centre = int(rng.choice(free, p=weights / weights.sum()))
    near = state.get_distances(centre, free, mic=True) <= settings.radius_A
    moved = np.zeros((len(state), 3))
    moved[free[near]] = rng.normal(scale=settings.displacement_A, size=(int(near.sum()), 3))
    return moved


def climb(
    state: Atoms,
    energy_eV: float,
    displacement: Array,
    mode: Array,
    landscape: Landscape,
    settings: KMCSettings,
) -> Saddle:
    """Follow the softest mode uphill from `state` plus `displacement` to a saddle point.

    The dimer method (Henkelman and Jonsson, J. Chem. Phys. 111, 7010, 1999) as ASE has it.
    `mode` (N x 3) is the direction it begins with. gamma is looked at in every step.

    Raises LostSearchError where it does not converge, UncertainError where gamma is too large.
    """
    climber = landscape.attached(state)
    climber.positions += displacement
    start = mode / np.linalg.norm(mode)
    with (
        warnings.catch_warnings(),
        DimerControl(logfile=None, eigenmode_logfile=None) as control,
    ):
        warnings.simplefilter("ignore")  # of modes that ASE finds flat: they end as lost
        dimer = MinModeAtoms(climber, control, eigenmodes=[start], random_seed=0)
        with MinModeTranslate(dimer, logfile=None) as optimiser:
            steps = optimiser.irun(fmax=settings.fmax_eV_per_A, steps=settings.max_steps)
            converged = _climbed(steps, dimer, energy_eV, settings)
        if not converged:
            raise LostSearchError(f"no saddle point within {settings.max_steps} steps")
        found = np.array(dimer.get_eigenmode(), dtype=float)
    energy = float(climber.get_potential_energy())
    gamma = landscape.calculator.results.get("gamma")
    saddle: Atoms = climber.copy()
    saddle.calc = None
    return Saddle(saddle, energy, found, None if gamma is None else float(np.max(gamma)))


def _climbed(
    steps: Iterator[bool], dimer: MinModeAtoms, energy_eV: float, settings: KMCSettings
) -> bool:
    """Go up, and say whether a saddle point was reached. Raises LostSearchError."""
    converged = False
    try:
        for reached in steps:
            converged = bool(reached)
            if float(dimer.get_potential_energy()) - energy_eV > (
                _FAR_TOO_HIGH * settings.max_barrier_eV
            ):
                raise LostSearchError("it climbed far above every barrier asked for")
    except (RuntimeError, FloatingPointError, np.linalg.LinAlgError) as error:
        raise LostSearchError(f"the dimer broke down: {error}") from error
    return converged
