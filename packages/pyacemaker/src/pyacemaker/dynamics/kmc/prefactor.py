"""Harmonic transition-state theory: how often a barrier is tried."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from pyacemaker.dynamics.kmc.geometry import (
    Array,
    Indices,
    displacements,
    fixed_atoms,
    free_atoms,
)
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError

_STEP_A = 0.01
# So many atoms vibrate in full; of more, those that move and their surroundings do.
MOST_ATOMS = 60
MOVES_A = 0.1
SURROUNDINGS_A = 3.3


def rate(barrier_eV: float, prefactor_THz: float, temperature_K: float) -> float:
    """Return the rate of harmonic transition-state theory in 1/s.

    k = nu exp(-E / kT) (Vineyard, J. Phys. Chem. Solids 3, 121, 1957).
    """
    return prefactor_THz * 1e12 * math.exp(-barrier_eV / (units.kB * temperature_K))


def vibrating_atoms(state: Atoms, saddle: Atoms, product: Atoms) -> Indices:
    """Return the atoms whose vibrations enter the prefactor: all that are free, if few."""
    free = free_atoms(state)
    if len(free) <= MOST_ATOMS:
        return free
    moved = np.maximum(
        np.linalg.norm(displacements(state, saddle), axis=1),
        np.linalg.norm(displacements(state, product), axis=1),
    )
    movers = free[moved[free] > MOVES_A]
    if len(movers) == 0:
        movers = free[np.argmax(moved[free])][None]
    near = np.min([saddle.get_distances(i, range(len(saddle)), mic=True) for i in movers], axis=0)
    chosen = free[near[free] < SURROUNDINGS_A]
    return np.asarray(chosen, dtype=np.int64)


def hessian(atoms: Atoms, indices: Indices, landscape: Landscape) -> Array:
    """Return second derivatives of the energy (3n x 3n, eV/angstrom^2) of n atoms.

    By central differences of the forces, made symmetric; the other atoms are held.
    """
    size = 3 * len(indices)
    found = np.empty((size, size))
    probe = landscape.attached(atoms)
    probe.set_constraint()
    for row, (index, axis) in enumerate((i, k) for i in indices for k in range(3)):
        sides = []
        for step in (_STEP_A, -_STEP_A):
            probe.positions[index, axis] += step
            sides.append(probe.get_forces()[indices].ravel())
            probe.positions[index, axis] -= step
        found[row] = (sides[1] - sides[0]) / (2 * _STEP_A)
    return np.asarray((found + found.T) / 2)


def frequencies(
    curvatures: Array, masses_amu: NDArray[np.float64], *, translations: bool = False
) -> Array:
    """Return normal frequencies in THz, ascending; imaginary ones as negative numbers.

    `curvatures` is a Hessian (3n x 3n, eV/angstrom^2) of n atoms. With `translations` the
    three motions of all atoms together, which cost nothing, are left out.
    """
    weights = np.repeat(1.0 / np.sqrt(masses_amu), 3)
    dynamical = curvatures * np.outer(weights, weights)
    values = np.linalg.eigvalsh(dynamical)
    if translations:
        values = np.sort(np.delete(values, np.argsort(np.abs(values))[:3]))
    per_s = np.sign(values) * np.sqrt(np.abs(values)) * units.s / (2 * np.pi)
    return np.asarray(per_s / 1e12)


def vineyard(minimum_THz: Array, saddle_THz: Array) -> float:
    """Return the prefactor (THz): the product of a minimum's frequencies over the saddle's.

    The saddle's one imaginary frequency is left out (Vineyard 1957). Raises LostSearchError
    if the minimum has an imaginary one, or the saddle not exactly one.
    """
    if minimum_THz[0] <= 0:
        raise LostSearchError(f"the minimum is none: {minimum_THz[0]:.2f} THz is its lowest mode")
    if (count := int(np.sum(saddle_THz <= 0))) != 1:
        raise LostSearchError(f"a saddle point with {count} directions downhill, not one")
    return float(np.exp(np.sum(np.log(minimum_THz)) - np.sum(np.log(saddle_THz[1:]))))


def vineyard_prefactor(state: Atoms, saddle: Atoms, product: Atoms, landscape: Landscape) -> float:
    """Return Vineyard's prefactor (THz) of the way from `state` over `saddle`.

    Raises LostSearchError where one of the two is not what it should be.
    """
    indices = vibrating_atoms(state, saddle, product)
    masses = state.get_masses()[indices]
    loose = len(indices) == len(state) and len(fixed_atoms(state)) == 0
    both = [
        frequencies(hessian(atoms, indices, landscape), masses, translations=loose)
        for atoms in (state, saddle)
    ]
    return vineyard(*both)
