"""Which atoms are too close: contact radii, and the closest contact of a structure.

The contact radius of an element is the smaller of its covalent radius (Cordero et al.,
Dalton Trans. 2832 (2008), through ASE) and half the nearest-neighbour distance of the
element's own crystal or molecule: 5f and some transition metals bind much closer than twice
their covalent radius (uranium: 2.75 angstrom against 3.92).

A contact of 1 is therefore an ordinary bond. Thermal motion and strain reach about 0.8.
Below about 0.6 the pseudopotential cores overlap so much that plane-wave labels are no
longer physics and the ZBL baseline takes over.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.neighborlist import neighbor_list

ORDINARY_CONTACT = 0.72
"""Floor of the contact in everything that is not meant to be a short-range structure."""

SHORT_CONTACT = 0.65
"""Floor of the contact in structures made to teach the short range (Si-Si: 1.44 angstrom)."""

HARD_FLOOR_A = 0.5
"""No two atoms are ever closer than this (H-H; the bond of H2 is 0.74 angstrom)."""

SHORTEST_IN_CRYSTAL = {"Mn": 2.26, "Pa": 3.21, "U": 2.754, "Np": 2.60, "Pu": 2.57}
"""Angstrom, in the alpha phases, which ASE cannot build (Donohue, 1974)."""

LARGE = 80
"""Atoms beyond which a neighbour list is faster than looking at every pair."""

BUILT_BY_ASE = frozenset({"fcc", "bcc", "hcp", "diamond", "sc", "rhombohedral", "bct"})


def has_simple_crystal(symbol: str) -> bool:
    """Tell whether ASE knows the element's crystal and can build it."""
    state = reference_states[atomic_numbers[symbol]]
    return bool(state) and state["symmetry"] in BUILT_BY_ASE and state.get("basis", 0) is not None


@cache
def crystal_neighbour_distance(symbol: str) -> float | None:
    """Nearest-neighbour distance (angstrom) in the element's crystal, None where nobody has one."""
    if symbol in SHORTEST_IN_CRYSTAL:
        return SHORTEST_IN_CRYSTAL[symbol]
    state = reference_states[atomic_numbers[symbol]]
    if state is not None and state["symmetry"] == "diatom":
        return float(state["d"])
    if not has_simple_crystal(symbol):
        return None
    distances = neighbor_list("d", bulk(symbol), 6.0)
    return float(distances.min()) if len(distances) else None


@cache
def contact_radius(symbol: str) -> float:
    """Return the contact radius in angstrom."""
    radius = float(covalent_radii[atomic_numbers[symbol]])
    crystal = crystal_neighbour_distance(symbol)
    return radius if crystal is None else min(radius, crystal / 2)


def contact_distance(first: str, second: str) -> float:
    """Return the distance (angstrom) at which two elements are in ordinary contact."""
    return contact_radius(first) + contact_radius(second)


def shortest_distance(first: str, second: str) -> float:
    """Return the shortest distance (angstrom) at which a pair is ever put for labelling.

    `SHORT_CONTACT` times the contact distance and never below `HARD_FLOOR_A`. Atoms that
    hardly bind (noble gases) have covalent radii far below any distance met in a solid;
    for them it is 0.4 of the crystal's own distance (helium: 1.5 angstrom).
    """
    floor = max(SHORT_CONTACT * contact_distance(first, second), HARD_FLOOR_A)
    if first in NOBLE_RADII and second in NOBLE_RADII:
        floor = max(floor, 0.4 * (NOBLE_RADII[first] + NOBLE_RADII[second]))
    return floor


NOBLE_RADII = {"He": 1.83, "Ne": 1.58, "Ar": 1.88, "Kr": 2.02, "Xe": 2.17, "Rn": 2.2}
"""Half the nearest-neighbour distance (angstrom) in the fcc or hcp solid near its melting."""


def closest_contact(atoms: Atoms) -> float:
    """Return the smallest distance over contact distance of any pair, images included.

    `inf` where no pair is within 1.6 contact distances. Pairs at less than `HARD_FLOOR_A`
    count as 0.
    """
    radii = np.array([contact_radius(symbol) for symbol in atoms.get_chemical_symbols()])
    reach = 1.6 * 2 * float(radii.max())
    if len(atoms) > LARGE:
        first, second, distance = neighbor_list("ijd", atoms, 1.6 * radii)
        sums = radii[first] + radii[second]
    else:
        distance, sums = _all_pairs(atoms, radii, reach)
    if len(distance) == 0:
        return float("inf")
    if distance.min() < HARD_FLOOR_A * (1 - 1e-9):
        return 0.0
    smallest = float(np.min(distance / sums))
    return smallest if smallest <= 1.6 else float("inf")


def _all_pairs(
    atoms: Atoms, radii: npt.NDArray[np.float64], reach: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances of every pair within reach and the sums of their radii (angstrom).

    Ten times faster than a neighbour list for the cells of a few atoms that this is for.
    """
    scaled, cell = atoms.positions, atoms.cell.complete().array
    repeats = [0, 0, 0]
    if atoms.pbc.any():
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        fractions = np.linalg.solve(cell.T, atoms.positions.T).T
        fractions[:, atoms.pbc] %= 1.0
        scaled = fractions @ cell
        # two atoms of one cell are less than one cell apart along each axis
        repeats = [
            int(np.ceil(reach / h)) + 1 if p else 0 for h, p in zip(heights, atoms.pbc, strict=True)
        ]
    steps = np.stack(
        np.meshgrid(*[np.arange(-n, n + 1) for n in repeats], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    shifts = steps @ cell
    apart = scaled[None, :] - scaled[:, None]
    radius = float(np.linalg.norm(apart, axis=2).max())
    shifts = shifts[np.linalg.norm(shifts, axis=1) <= reach + radius + 1e-9]
    squared = np.sum((apart[:, :, None] + shifts) ** 2, axis=3)
    own = np.all(np.abs(shifts) < 1e-12, axis=1)
    squared[np.arange(len(atoms))[:, None], np.arange(len(atoms))[:, None], own] = np.inf
    i, j, k = np.nonzero(squared <= reach**2)
    return np.sqrt(squared[i, j, k]), radii[i] + radii[j]


def allowed_contact(parent: Atoms, floor: float = ORDINARY_CONTACT) -> float:
    """Return the floor for distortions of `parent`.

    A parent that is itself tight (an exotic bond, a crystal under pressure) is allowed a
    tenth less than it has.
    """
    return min(floor, 0.9 * closest_contact(parent))


def volume_per_atom(atoms: Atoms) -> float:
    """Return the volume in angstrom^3 per atom; raises ValueError for a cell without one."""
    if atoms.cell.rank < 3 or len(atoms) == 0:
        raise ValueError("structure has no volume: give it three lattice vectors")
    return float(atoms.get_volume()) / len(atoms)


def is_sound(atoms: Atoms, floor: float, max_atoms: int) -> bool:
    """Tell whether the cell is right-handed, positions finite, contacts and size allowed."""
    return (
        0 < len(atoms) <= max_atoms
        and bool(np.isfinite(atoms.positions).all())
        and float(np.linalg.det(atoms.cell.array)) > 0
        and closest_contact(atoms) >= floor
    )


def right_handed(atoms: Atoms) -> Atoms:
    """Return `atoms`, its third lattice vector inverted if the cell was left-handed."""
    if np.linalg.det(atoms.cell.array) < 0:
        cell = atoms.cell.array.copy()
        cell[2] *= -1  # the same lattice
        atoms.set_cell(cell, scale_atoms=False)
        atoms.wrap()
    return atoms


def bare(atoms: Atoms) -> Atoms:
    """Return a copy with elements, positions, cell and boundary conditions, and nothing else.

    Initial magnetic moments stay (they are part of the question put to the oracle);
    momenta, constraints, results, `info` and any other array go.
    """
    copy = Atoms(
        atoms.get_chemical_symbols(), positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc
    )
    if atoms.has("initial_magmoms"):
        copy.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return copy


def scaled_to_volume(atoms: Atoms, volume_A3: float) -> Atoms:
    """Return a copy whose cell has this volume (angstrom^3), fractional coordinates kept."""
    copy = atoms.copy()
    factor = (volume_A3 / float(atoms.get_volume())) ** (1 / 3)
    cell: npt.NDArray[np.float64] = atoms.cell.array * factor
    copy.set_cell(cell, scale_atoms=True)
    return copy


def roomy(atoms: Atoms, contact: float = 0.9) -> Atoms:
    """Return `atoms`, scaled up if their closest contact is below `contact`.

    For crystals whose volume was only estimated.
    """
    tightest = closest_contact(atoms)
    if tightest >= contact:
        return atoms
    if tightest == 0.0:  # closer than the hard floor, where contacts are not told apart
        return roomy(scaled_to_volume(atoms, 1.5 * float(atoms.get_volume())), contact)
    growth = (contact / tightest) ** 3 * (1 + 1e-9)
    return scaled_to_volume(atoms, growth * float(atoms.get_volume()))
