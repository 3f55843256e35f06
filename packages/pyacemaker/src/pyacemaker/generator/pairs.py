"""Pairs of atoms at short range, and isolated atoms.

Everything is periodic in all three directions, which is what a plane-wave code computes
(and gives a stress to); dimers and atoms sit in boxes with vacuum around them. The boxes
have a zone of one point, so gamma is the only k-point they need. No pair is closer than
`contact.shortest_distance`: 0.65 of an ordinary contact (Si-Si: 1.44 angstrom), where
pseudopotential cores overlap but a self-consistent calculation still converges.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from pyacemaker.generator.base import GeneratorError, checked_elements
from pyacemaker.generator.contact import (
    HARD_FLOOR_A,
    NOBLE_RADII,
    SHORT_CONTACT,
    bare,
    closest_contact,
    contact_distance,
    crystal_neighbour_distance,
    shortest_distance,
)
from pyacemaker.provenance import tag

LEAST_VACUUM_A = 6.0


def dimer_distances(first: str, second: str, count: int, longest_A: float = 5.0) -> list[float]:
    """Return `count` distances (angstrom), dense where the energy is steep.

    From `contact.shortest_distance` to 2.2 ordinary contacts (to 1.4 distances of the
    crystal where atoms hardly bind), at most `longest_A` unless the crystal itself is wider;
    spaced evenly in the logarithm.
    """
    near = shortest_distance(first, second)
    sizes = [
        NOBLE_RADII.get(s) or (crystal_neighbour_distance(s) or 0.0) / 2 for s in (first, second)
    ]
    wide = 1.4 * sum(sizes)
    far = max(min(2.2 * contact_distance(first, second), longest_A), min(wide, 6.0), 1.5 * near)
    return [float(d) for d in np.geomspace(near, far, max(count, 1))]


def dimers(
    elements: Sequence[str],
    count: int = 10,
    *,
    vacuum_A: float = 8.0,
    box_cost_limit_A3: float | None = None,
) -> list[list[Atoms]]:
    """Return for each pair of elements its dimer at `count` distances.

    The pair lies along z in an orthorhombic box with `vacuum_A` between periodic images in
    every direction, and pbc is true. Where the box would exceed `box_cost_limit_A3` the
    vacuum shrinks, but not below 6 angstrom: such a dimer is left out. One split group for
    each pair of elements.
    """
    families: list[list[Atoms]] = []
    for first, second in combinations_with_replacement(checked_elements(elements), 2):
        family = []
        for distance in dimer_distances(first, second, count):
            gap = _affordable_vacuum(distance, vacuum_A, box_cost_limit_A3)
            if gap is None:
                continue
            box = [gap, gap, gap + distance]
            middle = np.array(box) / 2
            half = np.array([0, 0, distance / 2])
            atoms = Atoms([first, second], [middle - half, middle + half], cell=box, pbc=True)
            group = f"dimer-{first}{second}"
            family.append(
                tag(atoms, "dimer", group, distance_A=distance, vacuum_A=gap, pair=[first, second])
            )
        families.append(family)
    return families


def _affordable_vacuum(distance: float, wanted: float, limit: float | None) -> float | None:
    if limit is None or wanted * wanted * (wanted + distance) <= limit:
        return wanted
    for gap in np.arange(wanted, LEAST_VACUUM_A - 1e-9, -0.25):
        if gap * gap * (gap + distance) <= limit:
            return float(gap)
    return None


def isolated_atoms(elements: Sequence[str], box_A: float = 10.0) -> list[Atoms]:
    """Return one atom of each element in the middle of a cubic box of edge `box_A` (angstrom).

    pbc is true, so that a plane-wave code takes them. Their energies are the zero of every
    fit; they are tagged ``isolated_atom`` and belong in the training set.
    """
    if not box_A >= LEAST_VACUUM_A:
        raise GeneratorError(f"a box of {box_A} angstrom does not isolate an atom: 8 or more")
    return [
        tag(
            Atoms([symbol], [[box_A / 2] * 3], cell=[box_A] * 3, pbc=True),
            "isolated_atom",
            f"isolated-{symbol}",
            box_A=float(box_A),
        )
        for symbol in checked_elements(elements)
    ]


def pressed_pairs(
    parent: Atoms,
    ratios: Sequence[float],
    rng: np.random.Generator,
    *,
    prefix: str = "pressed",
) -> list[Atoms]:
    """Return copies of `parent` in which one neighbouring pair is pushed together.

    For each kind of pair that are neighbours in `parent`, and each ratio: two atoms at
    random move along the line between them to ``ratio`` times their distance, but not
    closer than `contact.shortest_distance`. The other atoms stay; if one of them comes
    closer to the pair than that as well, the structure is left out. `parent` should have
    at least two atoms. One split group for each kind of pair.
    """
    symbols = np.array(parent.get_chemical_symbols())
    if len(parent) < 2:
        return []
    first, second, distance, vector = neighbor_list("ijdD", parent, 6.0)
    inner = first < second  # a pair of one atom and its own image cannot be pushed together
    first, second, distance, vector = (x[inner] for x in (first, second, distance, vector))
    made: list[Atoms] = []
    kinds = sorted(
        {tuple(sorted((symbols[i], symbols[j]))) for i, j in zip(first, second, strict=True)}
    )
    for a, b in kinds:
        names = [
            tuple(sorted((symbols[i], symbols[j]))) for i, j in zip(first, second, strict=True)
        ]
        of_kind = np.array([name == (a, b) for name in names])
        nearest = np.flatnonzero(of_kind & (distance < 1.2 * distance[of_kind].min()))
        for ratio in ratios:
            pick = int(nearest[rng.integers(len(nearest))])
            i, j, d = int(first[pick]), int(second[pick]), float(distance[pick])
            new = max(ratio * d, shortest_distance(a, b))
            if new >= d:
                continue
            copy = bare(parent)
            shift = (d - new) / 2 * vector[pick] / d
            copy.positions[i] += shift
            copy.positions[j] -= shift
            if closest_contact(copy) < min(_floor_ratio(a, b), 0.99 * closest_contact(parent)):
                continue
            made.append(
                tag(copy, "pressed_pair", f"{prefix}-{a}{b}", pair=[str(a), str(b)], distance_A=new)
            )
    return made


def _floor_ratio(first: str, second: str) -> float:
    """Contact at which `shortest_distance` lies, less rounding."""
    if shortest_distance(first, second) <= HARD_FLOOR_A:
        return SHORT_CONTACT * (1 - 1e-9)
    return min(
        SHORT_CONTACT, shortest_distance(first, second) / contact_distance(first, second)
    ) * (1 - 1e-9)
