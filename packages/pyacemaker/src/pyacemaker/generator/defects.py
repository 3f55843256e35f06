"""Point defects and surfaces of a reference crystal, unrelaxed and slightly rattled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import spglib
from ase import Atoms
from ase.build import surface
from ase.geometry import get_distances
from scipy.spatial import Voronoi

from pyacemaker.generator.contact import allowed_contact, bare, closest_contact
from pyacemaker.generator.distort import INDEPENDENT_SIGMA_A, displaced
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import tag

THICKEST_A = 12.0
THINNEST_A = 2.5
LEAST_ATOMS_FOR_VACANCY = 4
"""A vacancy in a smaller cell would leave a crystal of vacancies, not a crystal."""


def inequivalent_sites(atoms: Atoms) -> list[int]:
    """Return one atom of each symmetry-equivalent set (spglib, 1e-3 angstrom), ascending."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-3)
    if found is None:
        return list(range(len(atoms)))
    return sorted({int(i) for i in found.equivalent_atoms})


def vacancies(
    reference: Atoms,
    max_atoms: int,
    rng: np.random.Generator,
    *,
    per_site: int = 2,
    sigma_A: float = 0.08,
    prefix: str = "vacancy",
) -> list[Atoms]:
    """Return supercells of at most `max_atoms` atoms with one atom taken out.

    Each inequivalent site of `reference` is emptied `per_site` times, with independent
    displacements of `sigma_A` angstrom. The removed atom counts towards `max_atoms`. Empty
    where no supercell of at least four atoms fits. Each is its own split group where
    `sigma_A` is 0.05 angstrom or more.
    """
    host = _host(reference, max_atoms)
    if host is None:
        return []
    made: list[Atoms] = []
    for site in inequivalent_sites(host):
        for number in range(per_site):
            copy = host.copy()
            removed = str(copy[site].symbol)
            del copy[site]
            copy, used = displaced(copy, sigma_A, rng, floor=allowed_contact(copy))
            group = f"{prefix}-{removed}{site}-{number if used >= INDEPENDENT_SIGMA_A else 'small'}"
            made.append(
                tag(copy, "vacancy", group, removed=removed, host_atoms=len(host), sigma_A=used)
            )
    return made


def antisites(
    reference: Atoms,
    max_atoms: int,
    rng: np.random.Generator,
    *,
    count: int = 2,
    sigma_A: float = 0.08,
    prefix: str = "antisite",
) -> list[Atoms]:
    """Return compounds in which two unlike atoms have changed places.

    Empty for elements; exchanges that make atoms overlap are left out.
    """
    if len(set(reference.get_chemical_symbols())) < 2 or len(reference) > max_atoms:
        return []
    host = supercell(reference, max_atoms)
    numbers = host.numbers
    made: list[Atoms] = []
    for number in range(count):
        first = int(rng.integers(len(host)))
        others = np.flatnonzero(numbers != numbers[first])
        second = int(others[rng.integers(len(others))])
        copy = host.copy()
        copy.numbers[[first, second]] = copy.numbers[[second, first]]
        floor = allowed_contact(host)
        if closest_contact(copy) < floor:
            continue
        copy, used = displaced(copy, sigma_A, rng, floor=floor)
        group = f"{prefix}-{number if used >= INDEPENDENT_SIGMA_A else 'small'}"
        made.append(tag(copy, "antisite", group, sigma_A=used))
    return made


def interstitials(
    reference: Atoms,
    max_atoms: int,
    rng: np.random.Generator,
    *,
    count: int = 2,
    sigma_A: float = 0.05,
    prefix: str = "interstitial",
) -> list[Atoms]:
    """Return supercells with one atom more, put into the widest voids.

    Voids are the corners of the atoms' Voronoi cells, widest first; elements of the host in
    turn. Voids in which the new atom would overlap are left out. The added atom counts
    towards `max_atoms`.
    """
    host = _host(reference, max_atoms - 1)
    if host is None:
        return []
    symbols = list(dict.fromkeys(host.get_chemical_symbols()))
    made: list[Atoms] = []
    for number, place in enumerate(_voids(host)[:count]):
        copy = host.copy()
        added = symbols[number % len(symbols)]
        copy += Atoms([added], [place])
        floor = allowed_contact(host)
        if closest_contact(copy) < floor:
            continue
        copy, used = displaced(copy, sigma_A, rng, floor=floor)
        group = f"{prefix}-{added}{number if used >= INDEPENDENT_SIGMA_A else 'small'}"
        made.append(tag(copy, "interstitial", group, added=added, sigma_A=used))
    return made


def _host(reference: Atoms, max_atoms: int) -> Atoms | None:
    if len(reference) > max_atoms:
        return None
    host = supercell(reference, max_atoms)
    return host if len(host) >= LEAST_ATOMS_FOR_VACANCY else None


def _voids(host: Atoms) -> list[npt.NDArray[np.float64]]:
    """Positions (angstrom) farthest from every atom, widest first, images counted once."""
    shifts = np.array(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij")).reshape(3, -1).T
    cloud = (host.positions[None] + (shifts @ host.cell.array)[:, None]).reshape(-1, 3)
    corners = Voronoi(cloud).vertices
    inside = host.cell.scaled_positions(corners)
    corners = corners[np.all((inside > -1e-6) & (inside < 1 - 1e-6), axis=1)]
    if len(corners) == 0:
        return []
    _, apart = get_distances(corners, host.positions, cell=host.cell, pbc=True)
    width = np.round(apart.min(axis=1), 4)
    # by width, then by place, so that equal voids come in the same order everywhere
    order = np.lexsort((*np.round(corners, 4).T, -width))
    chosen: list[npt.NDArray[np.float64]] = []
    for index in order:
        place = corners[index]
        if chosen:
            _, to_chosen = get_distances([place], chosen, cell=host.cell, pbc=True)
            if to_chosen.min() < 0.4:
                continue
        chosen.append(place)
    return chosen


def surfaces(
    reference: Atoms,
    max_atoms: int,
    rng: np.random.Generator,
    *,
    indices: Sequence[tuple[int, int, int]] = (),
    vacuum_A: float = 8.0,
    box_cost_limit_A3: float | None = None,
    sigma_A: float = 0.06,
    per_surface: int = 1,
    prefix: str = "surface",
) -> list[Atoms]:
    """Return slabs with low-index surfaces, as thick as `max_atoms` allows (to 12 angstrom).

    Miller indices are those of the conventional cell (by default those usual for the
    crystal system); the slab has the primitive in-plane cell, the surface normal along z,
    `vacuum_A` angstrom of vacuum, pbc true in all directions (a plane-wave code's own).
    Polar terminations get no dipole correction here. Slabs thinner than 2.5 angstrom or
    larger than `box_cost_limit_A3` are left out.
    """
    made: list[Atoms] = []
    crystal = _standard_cells(reference)
    for index in indices or low_indices(crystal.spacegroup):
        slab = cut_slab(crystal, index, max_atoms, vacuum_A, box_cost_limit_A3)
        if slab is None:
            continue
        name = "".join(str(i) for i in index)
        thickness = float(np.ptp(slab.positions[:, 2]))
        for number in range(per_surface):
            copy, used = displaced(slab, sigma_A, rng, floor=allowed_contact(slab))
            made.append(
                tag(
                    copy,
                    "surface",
                    f"{prefix}-{name}-{number if used >= INDEPENDENT_SIGMA_A else 'small'}",
                    miller=list(index),
                    vacuum_A=float(slab.cell[2, 2]) - thickness,
                    thickness_A=thickness,
                    sigma_A=used,
                )
            )
    return made


@dataclass(frozen=True)
class StandardCells:
    """spglib's conventional cell (lattice vectors in rows, angstrom) and primitive crystal."""

    conventional: npt.NDArray[np.float64]
    primitive: Atoms
    spacegroup: int


def _standard_cells(atoms: Atoms) -> StandardCells:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    large = spglib.standardize_cell(cell, to_primitive=False, no_idealize=False, symprec=1e-3)
    small = spglib.standardize_cell(cell, to_primitive=True, no_idealize=False, symprec=1e-3)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-3)
    if large is None or small is None or found is None:
        return StandardCells(np.asarray(atoms.cell.array), bare(atoms), 1)
    primitive = Atoms(numbers=small[2], scaled_positions=small[1], cell=small[0], pbc=True)
    return StandardCells(np.asarray(large[0]), primitive, int(found.number))


def low_indices(spacegroup: int) -> tuple[tuple[int, int, int], ...]:
    """Return the low-index faces usual for the crystal system of a space group."""
    if spacegroup >= 195:
        return ((1, 1, 1), (1, 1, 0), (1, 0, 0))
    if spacegroup >= 143:
        return ((0, 0, 1), (1, 0, 0), (1, 1, 0))
    return ((1, 0, 0), (0, 0, 1), (1, 1, 0), (0, 1, 0))


def cut_slab(
    crystal: StandardCells,
    index: tuple[int, int, int],
    max_atoms: int,
    vacuum_A: float,
    limit_A3: float | None,
) -> Atoms | None:
    """Return the thickest slab allowed with faces (hkl), or None.

    The crystal is cut where neighbouring atomic planes are farthest apart, which breaks the
    fewest bonds; whole primitive layers keep the composition.
    """
    reciprocal = np.array(index) @ np.linalg.inv(crystal.conventional).T
    # centred lattices: (110) of fcc is (1/2 1/2 1) of the primitive cell; halves and thirds occur
    of_primitive = np.rint(6 * crystal.primitive.cell.array @ reciprocal).astype(int)
    of_primitive //= np.gcd.reduce(of_primitive)
    normal = of_primitive @ np.linalg.inv(crystal.primitive.cell.array).T
    spacing = 1 / float(np.linalg.norm(normal))
    bulk = crystal.primitive.copy()
    heights = np.sort(np.round(bulk.positions @ normal, 6) % 1.0)
    gaps = np.diff(np.append(heights, heights[0] + 1.0))
    widest = int(np.argmax(np.round(gaps, 4)))
    cut = heights[widest] + gaps[widest] / 2
    bulk.positions -= cut * spacing**2 * normal
    layers = min(max_atoms // len(bulk), int(np.ceil(THICKEST_A / spacing)))
    for count in range(layers, 0, -1):
        slab = _upright(surface(bulk, tuple(of_primitive), count), vacuum_A)
        if np.ptp(slab.positions[:, 2]) < THINNEST_A:
            return None
        if limit_A3 is None or slab.get_volume() <= limit_A3:
            return slab
    return None


def _upright(slab: Atoms, vacuum_A: float) -> Atoms:
    """Shortest in-plane vectors in the xy plane, and exactly `vacuum_A` along z."""
    a, b = slab.cell.array[0], slab.cell.array[1]
    for _ in range(20):
        if np.dot(b, b) < np.dot(a, a) - 1e-9:
            a, b = b, -a
        times = np.rint(np.dot(a, b) / np.dot(a, a) * (1 - 1e-9))
        if times == 0:
            break
        b = b - times * a
    normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    x = a / np.linalg.norm(a)
    axes = np.array([x, np.cross(normal, x), normal])
    positions = slab.positions @ axes.T
    height = float(np.ptp(positions[:, 2]))
    positions[:, 2] += vacuum_A / 2 - positions[:, 2].min()
    cell = np.array([axes @ a, axes @ b, [0, 0, height + vacuum_A]])
    cell[np.abs(cell) < 1e-10] = 0.0
    upright = Atoms(slab.get_chemical_symbols(), positions, cell=cell, pbc=(True, True, False))
    upright.wrap()
    upright.pbc = True
    return upright
