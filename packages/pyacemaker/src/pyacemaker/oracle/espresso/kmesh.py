"""The box a plane-wave code needs round what is not periodic, and the k-point mesh in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

VACUUM_A = 10.0
_TINY = 1e-9
# No bond is as long as this many covalent radii of the larger atom, or as 5.9 angstrom.
_GAP_IN_RADII, _LEAST_GAP_A = 3.2, 5.9


def boxed(atoms: Atoms, vacuum_A: float = VACUUM_A) -> Atoms:
    """Return `atoms` as a right-handed, fully periodic cell.

    Along directions without periodicity the cell leaves at least `vacuum_A` (angstrom)
    between images; it is extended or made where it does not. Positions stay as they are up
    to a common shift, so forces need no change.
    """
    found: Atoms = atoms.copy()
    found.set_constraint()
    cell = np.array(found.cell)
    open_axes = [axis for axis in range(3) if not found.pbc[axis]]
    if open_axes:
        cell = _with_room(cell, found.get_positions(), open_axes, vacuum_A)
    if np.linalg.det(cell) < 0:
        cell = cell[[1, 0, 2]]
    found.set_cell(cell, scale_atoms=False)
    found.set_pbc(True)
    return found


def _with_room(
    cell: np.ndarray[Any, Any],
    positions: np.ndarray[Any, Any],
    open_axes: list[int],
    vacuum_A: float,
) -> np.ndarray[Any, Any]:
    """Return the cell with every open axis perpendicular to the others and long enough."""
    closed = [axis for axis in range(3) if axis not in open_axes]
    directions = np.zeros((3, 3))
    for axis in closed:
        directions[axis] = cell[axis]
    if len(closed) == 2:
        (axis,) = open_axes
        normal = np.cross(directions[(axis + 1) % 3], directions[(axis + 2) % 3])
        directions[axis] = normal / np.linalg.norm(normal)
    elif len(closed) == 1:
        along = directions[closed[0]] / np.linalg.norm(directions[closed[0]])
        seed = np.eye(3)[int(np.argmin(np.abs(along)))]
        first = np.cross(along, seed)
        first /= np.linalg.norm(first)
        directions[open_axes[0]] = first
        directions[open_axes[1]] = np.cross(along, first)
    else:
        directions = np.eye(3)
    lengths = np.linalg.norm(cell, axis=1)
    for axis in open_axes:
        spread = positions @ directions[axis]
        needed = float(np.ptp(spread)) + vacuum_A
        along_axis = abs(float(cell[axis] @ directions[axis]))
        same = along_axis > (1 - 1e-6) * lengths[axis] > 0
        directions[axis] = directions[axis] * (max(needed, along_axis) if same else needed)
    return directions


def kmesh(cell_atoms: Atoms, kspacing_per_A: float) -> tuple[int, int, int]:
    """Return the Gamma-centred mesh with neighbouring points at most `kspacing_per_A` apart.

    N_i = ceil(|b_i| / spacing) with |b_i| the reciprocal vector, 2 pi included (VASP's
    KSPACING). Along a direction with vacuum there is no dispersion, and one point.
    """
    cell = np.array(cell_atoms.cell)
    reciprocal = 2 * math.pi * np.linalg.inv(cell).T
    mesh = [
        1
        if _has_vacuum(cell_atoms, axis)
        else max(1, math.ceil(float(np.linalg.norm(reciprocal[axis])) / kspacing_per_A - _TINY))
        for axis in range(3)
    ]
    return mesh[0], mesh[1], mesh[2]


def _has_vacuum(atoms: Atoms, axis: int) -> bool:
    """Say whether the planes normal to a reciprocal axis leave a gap that no bond crosses."""
    fractional = np.sort(atoms.get_scaled_positions(wrap=True)[:, axis])
    gaps = np.diff(np.append(fractional, fractional[0] + 1.0))
    cell = np.array(atoms.cell)
    area = np.linalg.norm(np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3]))
    height = abs(float(np.linalg.det(cell))) / float(area)
    radius = max(float(covalent_radii[number]) for number in atoms.numbers)
    return float(gaps.max()) * height >= max(_LEAST_GAP_A, _GAP_IN_RADII * radius)
