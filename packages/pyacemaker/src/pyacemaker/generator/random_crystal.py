"""Random symmetric crystals by PyXtal (Fredericks et al., Comput. Phys. Commun. 261, 107810).

The number of attempts is bounded, not the time, so that a slow machine gets the same
crystals as a fast one. PyXtal gets a seed for every attempt from the Generator handed down.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import spglib
from ase import Atoms

from pyacemaker.generator.base import GeneratorError, checked_elements
from pyacemaker.generator.contact import (
    ORDINARY_CONTACT,
    closest_contact,
    contact_radius,
    right_handed,
    scaled_to_volume,
    volume_per_atom,
)
from pyacemaker.generator.volumes import mixed_volume
from pyacemaker.provenance import tag

VOLUME_FACTORS = (0.85, 1.35)
"""Range of the volume against `volumes.mixed_volume`, sampled uniformly."""

LOOSEST = 1.8
"""A crystal that needs more than this times the expected volume to part its atoms is refused."""

LOOSE_START = 2.0
"""PyXtal's volume factor: roomy, so that sites are found in few tries; rescaled afterwards."""

ATTEMPTS_PER_CRYSTAL = 12
MOST_ATOMS = 40
"""PyXtal's own attempts take seconds each beyond this."""


def random_crystals(
    composition: Mapping[str, int],
    count: int,
    rng: np.random.Generator,
    *,
    prefix: str = "random",
    max_attempts: int | None = None,
) -> list[Atoms]:
    """Return up to `count` random crystals of `composition` (atoms in the primitive cell).

    Space groups are drawn uniformly from 2 to 230; groups that cannot hold the composition
    count as an attempt. Fewer are returned when `max_attempts` (12 for each by default) are
    used up. Each crystal is its own split group: nothing relates two of them.
    """
    symbols = checked_elements(list(composition))
    numbers = [int(composition[s]) for s in symbols]
    if min(numbers) < 1:
        raise GeneratorError("a composition needs at least one atom of each element")
    if sum(numbers) > MOST_ATOMS:
        raise GeneratorError(f"random crystals have at most {MOST_ATOMS} atoms")
    made: list[Atoms] = []
    for _ in range(max_attempts or count * ATTEMPTS_PER_CRYSTAL):
        if len(made) >= count:
            break
        # drawn together, so that what one attempt does never shifts the next one's numbers
        group_number = int(rng.integers(2, 231))
        seed = int(rng.integers(2**31))
        factor = float(rng.uniform(*VOLUME_FACTORS))
        crystal = _attempt(symbols, numbers, group_number, seed)
        if crystal is None:
            continue
        sized = _sized(crystal, factor * mixed_volume(composition))
        if sized is None:
            continue
        actual = spglib.get_spacegroup(
            (sized.cell.array, sized.get_scaled_positions(), sized.numbers), symprec=1e-3
        )
        name = f"{prefix}-{sized.get_chemical_formula()}-{len(made):03d}"
        made.append(
            tag(
                sized,
                "random_crystal",
                name,
                spacegroup_asked=group_number,
                spacegroup=actual,
                volume_A3_per_atom=volume_per_atom(sized),
            )
        )
    return made


@cache
def _tolerances(symbols: tuple[str, ...]) -> Any:
    """PyXtal's table of smallest distances (angstrom): 0.85 of a contact for each pair."""
    from pyxtal.tolerance import Tol_matrix

    table = Tol_matrix(prototype="atomic", factor=1.0)
    for i, first in enumerate(symbols):
        for second in symbols[i:]:
            apart = 0.85 * (contact_radius(first) + contact_radius(second))
            table.set_tol(first, second, apart)
    return table


def _attempt(
    symbols: tuple[str, ...], numbers: list[int], group_number: int, seed: int
) -> Atoms | None:
    """One try of PyXtal; None where it found nothing or the group cannot hold the atoms."""
    from pyxtal import pyxtal
    from pyxtal.msg import Comp_CompatibilityError, VolumeError

    logging.getLogger("pyxtal").setLevel(logging.ERROR)
    crystal = pyxtal()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            crystal.from_random(
                3, group_number, list(symbols), list(numbers), conventional=False,
                factor=LOOSE_START, random_state=seed, max_count=1, tm=_tolerances(symbols),
            )  # fmt: skip
            if not crystal.valid:
                return None
            found = crystal.to_ase(resort=False)
    except (Comp_CompatibilityError, VolumeError, RuntimeError):
        return None
    plain = (found.cell.array, found.get_scaled_positions(), found.numbers)
    primitive = spglib.find_primitive(plain, symprec=1e-4)
    if primitive is None:
        return None
    cell, places, kinds = primitive
    atoms = Atoms(numbers=kinds, scaled_positions=places, cell=cell, pbc=True)
    return right_handed(atoms) if len(atoms) <= sum(numbers) else None


def _sized(crystal: Atoms, volume_A3: float) -> Atoms | None:
    """`crystal` at this volume per atom, or the least larger one at which no atoms overlap."""
    sized = scaled_to_volume(crystal, volume_A3 * len(crystal))
    contact = closest_contact(sized)
    if contact == 0.0:  # closer than the hard floor: measured again where there is room
        sized = scaled_to_volume(crystal, LOOSEST * volume_A3 * len(crystal))
        contact = closest_contact(sized)
        if contact == 0.0:
            return None
    if contact < ORDINARY_CONTACT:
        grown = volume_per_atom(sized) * (ORDINARY_CONTACT / contact) ** 3 * (1 + 1e-9)
        if grown > LOOSEST * volume_A3:
            return None
        sized = scaled_to_volume(crystal, grown * len(crystal))
    return sized if closest_contact(sized) >= ORDINARY_CONTACT else None
