"""A small periodic cell round one atom of a large box, with that atom's surroundings kept.

The cell is cut along the box's own axes. Along each, its length is the translation that comes
nearest to a symmetry of the box where it is cut: the atoms beyond one face must lie where the
images of those at the other face come to lie. In a crystal that finds lattice translations
(the seam is as smooth as the lattice vibrates), in a liquid the least bad cut. Along a
direction with vacuum the cell takes the atoms within reach and gets its own vacuum. Atoms that
overlap across a seam are removed, buffer atoms first.

Forces on the core are those of the box as far as the buffer screens the seam
(``benchmarks/embedding.py`` measures how far that is). Energy and stress of the cell contain
its seams and are not those of the box, so the fit gives them no weight (`trainer.targets`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree

from pyacemaker.core_weight import CORE_WEIGHT, core_weights
from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import contact_radius

Array = NDArray[np.float64]

CORE_RADIUS_A = 3.0
"""The core: an atom and its nearest neighbours (2.4 to 2.9 angstrom in most solids)."""

LEAST_BUFFER_A = 1.0
VACUUM_A = 10.0
_STEP_A = 0.05
_FACE_A = 1.2
_SEARCH_A = 6.0  # at least one lattice translation of most crystals
_SKIN_A = 3.0
_GAP_A = 6.0
_OVERLAP = 0.7  # of an ordinary contact
_LONGER_COSTS_A = 0.05  # a cell longer by 1 angstrom must fit better by this


@dataclass(frozen=True)
class Embedded:
    """The small cell, what was kept and how well its seams fit.

    `atoms` carries ``core_weight``; its first atom is the centre. `origin` are the atoms'
    places in the box. `misfit_A` is the root-mean-square distance by which atoms beyond the
    seams miss the images they are replaced by (0 for a perfect crystal, 0 without seams).
    """

    atoms: Atoms
    origin: NDArray[np.intp]
    buffer_A: float
    misfit_A: float
    removed: int


def embed(
    box: Atoms, centre: int, *, core_radius_A: float = CORE_RADIUS_A, buffer_A: float
) -> Embedded:
    """Cut a periodic cell round atom `centre` of `box`.

    Parameters
    ----------
    box
        The structure, with three lattice vectors.
    centre
        Index of the atom in question.
    core_radius_A
        Atoms within this distance of it are the core (angstrom).
    buffer_A
        Least thickness of what is kept round the core (angstrom).

    Raises
    ------
    GeneratorError
        For an index out of range, a box without volume or lengths that are not positive.
    """
    if not 0 <= centre < len(box):
        raise GeneratorError(f"there is no atom {centre} in a box of {len(box)}")
    if box.cell.rank < 3:
        raise GeneratorError("embedding needs a box with three lattice vectors")
    if core_radius_A <= 0 or buffer_A < 0:
        raise GeneratorError("core_radius_A must be positive and buffer_A not negative")
    reach = core_radius_A + buffer_A
    cell: Array = np.array(box.cell.array)
    scaled = box.get_scaled_positions(wrap=False)
    relative = scaled - scaled[centre]
    relative[:, box.pbc] -= np.rint(relative[:, box.pbc])
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)  # distances of lattice planes
    inside = np.ones(len(box), dtype=bool)
    misfits: list[float] = []
    for axis in range(3):
        half = reach / heights[axis]
        if _has_gap(relative[:, axis], heights[axis], bool(box.pbc[axis])):
            where = _without_gap(relative[:, axis])
            inside &= np.abs(where) <= half
            extent = np.ptp(where[inside]) * heights[axis]
            relative[:, axis] = where
            cell[axis] *= (extent + VACUUM_A) / heights[axis]
            continue
        fraction, misfit = _translation(box, axis, centre, 2 * half)
        if fraction is None:
            continue  # the box is no larger than what is needed: no seam
        misfits.append(misfit)
        lower = -fraction / 2 + _shift(relative[:, axis], fraction, heights[axis])
        inside &= (relative[:, axis] >= lower) & (relative[:, axis] < lower + fraction)
        cell[axis] *= fraction
    inside[centre] = True
    kept = np.flatnonzero(inside)
    kept = np.concatenate([[centre], kept[kept != centre]])
    found = Atoms(
        numbers=box.numbers[kept],
        positions=relative[kept] @ box.cell.array,
        cell=cell,
        pbc=True,
    )
    if box.has("initial_magmoms"):
        found.set_initial_magnetic_moments(box.get_initial_magnetic_moments()[kept])
    away = get_distances(box.positions[[centre]], box.positions[kept], cell=box.cell, pbc=box.pbc)[
        1
    ][0]
    found.set_array(CORE_WEIGHT, (away <= core_radius_A).astype(float))
    if "gamma" in box.arrays:
        found.set_array("gamma", np.asarray(box.arrays["gamma"], dtype=float)[kept])
    stay = _without_overlaps(found)
    found.positions -= found.positions.min(axis=0)
    misfit = float(np.sqrt(np.mean(np.square(misfits)))) if misfits else 0.0
    return Embedded(found[stay], kept[stay], buffer_A, misfit, len(kept) - len(stay))


def embed_within(
    box: Atoms, centre: int, max_atoms: int, *, core_radius_A: float = CORE_RADIUS_A
) -> Embedded | None:
    """Return the cell with the thickest buffer that has at most `max_atoms` atoms.

    None where even a buffer of 1 angstrom is larger.
    """
    density = len(box) / abs(float(box.get_volume()))
    edge = (max_atoms / density) ** (1 / 3)
    thickest = max(edge / 2 - core_radius_A + 2.0, LEAST_BUFFER_A)
    for buffer in np.arange(thickest, LEAST_BUFFER_A - 1e-9, -0.25):
        found = embed(box, centre, core_radius_A=core_radius_A, buffer_A=float(buffer))
        if len(found.atoms) <= max_atoms:
            return found
    return None


def uncertain_atom(frame: Atoms) -> int:
    """Return the atom with the largest ``gamma``. Raises GeneratorError without the array."""
    if "gamma" not in frame.arrays:
        raise GeneratorError("the frame has no array gamma: which atom is uncertain is not known")
    gamma = np.asarray(frame.arrays["gamma"], dtype=float).reshape(len(frame), -1).max(axis=1)
    return int(np.nanargmax(gamma))


def _has_gap(relative: Array, height: float, periodic: bool) -> bool:
    """Say whether the structure has vacuum along this axis."""
    if not periodic:
        return True
    ordered = np.sort(np.mod(relative, 1.0))
    gaps = np.diff(np.append(ordered, ordered[0] + 1.0))
    return bool(gaps.max() * height >= _GAP_A)


def _without_gap(relative: Array) -> Array:
    """Return coordinates in one piece: no atom on the other side of the vacuum."""
    places = np.mod(relative, 1.0)
    ordered = np.sort(places)
    gaps = np.diff(np.append(ordered, ordered[0] + 1.0))
    start = ordered[(int(gaps.argmax()) + 1) % len(ordered)]
    whole: Array = np.mod(places - start + 1e-9, 1.0)
    return np.asarray(whole - np.mod(0.0 - start + 1e-9, 1.0))


def _translation(box: Atoms, axis: int, centre: int, least: float) -> tuple[float | None, float]:
    """Return the fraction of lattice vector `axis` to cut, and its misfit (angstrom).

    None if the box is not longer than the cut would be.
    """
    vector = np.array(box.cell.array[axis])
    length = float(np.linalg.norm(vector))
    candidates = np.arange(max(least * length, _SKIN_A), length - 0.5, _STEP_A)
    candidates = candidates[candidates <= least * length + _SEARCH_A]
    if len(candidates) == 0:
        return None, 0.0
    scaled = box.get_scaled_positions(wrap=False)
    along = scaled[:, axis] - scaled[centre, axis]
    along -= np.rint(along)
    skin = _SKIN_A / length
    images = _with_images(box)
    trees = {n: cKDTree(images.positions[images.numbers == n]) for n in set(box.numbers.tolist())}

    def misfit(candidate: float) -> float:
        # what lies at the lower face, moved by the translation, must meet what lies beyond
        # the upper one, and the other way round
        fraction = candidate / length
        squares: list[Array] = [np.zeros(0)]
        for face, sign in ((-fraction / 2, 1.0), (fraction / 2, -1.0)):
            off = along - face
            near = np.flatnonzero(np.abs(off - np.rint(off)) <= skin)
            moved = box.positions[near] + sign * fraction * vector
            for number, tree in trees.items():
                chosen = moved[box.numbers[near] == number]
                if len(chosen):
                    squares.append(tree.query(chosen, distance_upper_bound=_SKIN_A)[0] ** 2)
        distances = np.minimum(np.concatenate(squares), _SKIN_A**2)
        return float(np.sqrt(np.mean(distances))) if len(distances) else 0.0

    scores = [misfit(c) + _LONGER_COSTS_A * (c - candidates[0]) for c in candidates]
    rough = float(candidates[int(np.argmin(scores))])
    # to the fullest: a strain of 1e-3 of the small cell would be felt
    fine = minimize_scalar(
        misfit, bounds=(rough - _STEP_A, rough + _STEP_A), method="bounded", options={"xatol": 1e-7}
    )
    if fine.fun > 1.0 and length - fine.x < 0.2 * length:
        return None, 0.0  # the whole box is better
    return float(fine.x) / length, float(fine.fun)


def _shift(relative: Array, fraction: float, height: float) -> float:
    """Return by how much to move the faces (fraction of the box) so that they lie between atoms.

    An atom on a face would, by its vibration, be there twice or not at all. At most 1.2
    angstrom, and no more than it is worth: it is taken from the buffer of one side.
    """
    best, shift = -np.inf, 0.0
    for move in np.arange(-_FACE_A, _FACE_A + 1e-9, 0.05):
        lower = -fraction / 2 + move / height
        away = [
            np.abs(relative - face - np.rint(relative - face)).min() * height
            for face in (lower, lower + fraction)
        ]
        score = min(*away, 0.8) - 0.05 * abs(move)
        if score > best:
            best, shift = score, move / height
    return float(shift)


def _with_images(box: Atoms) -> Atoms:
    """Return the box's atoms wrapped, with its neighbours all round."""
    reach = [(-1, 0, 1) if periodic else (0,) for periodic in box.pbc]
    positions = [
        box.positions + np.array([i, j, k]) @ box.cell.array
        for i in reach[0]
        for j in reach[1]
        for k in reach[2]
    ]
    return Atoms(numbers=np.tile(box.numbers, len(positions)), positions=np.vstack(positions))


def _without_overlaps(atoms: Atoms) -> NDArray[np.intp]:
    """Return the atoms to keep: of two that overlap across a seam the one nearer the core."""
    radii = np.array([contact_radius(symbol) for symbol in atoms.get_chemical_symbols()])
    first, second, distance = neighbor_list("ijd", atoms, _OVERLAP * radii)
    # the overlaps of the box itself are the material's own affair
    direct = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    across = (distance < direct - 1e-6) & (first != second)
    core = core_weights(atoms) > 0
    remoteness = np.linalg.norm(atoms.positions - atoms.positions[0], axis=1)
    gone: set[int] = set()
    for i, j in zip(first[across], second[across], strict=True):
        if i in gone or j in gone:
            continue
        pair = sorted((int(i), int(j)), key=lambda n: (bool(core[n]), -remoteness[n]))
        if not core[pair[0]]:
            gone.add(pair[0])
    return np.array([n for n in range(len(atoms)) if n not in gone], dtype=np.intp)
