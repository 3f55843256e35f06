"""Known prototypes with volume scans, and the material's expected ground state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import spglib
from ase import Atoms

from pyacemaker.generator.base import GeneratorError, checked_elements
from pyacemaker.generator.contact import (
    ORDINARY_CONTACT,
    bare,
    closest_contact,
    scaled_to_volume,
)
from pyacemaker.generator.crystals import Prototype, build, prototype
from pyacemaker.generator.reference import reference_structure
from pyacemaker.generator.volumes import (
    cation_and_anion,
    is_metal,
    volume_of_compound_in,
    volume_of_element_in,
)
from pyacemaker.provenance import tag

__all__ = [
    "EOS_FACTORS",
    "PrototypeChoice",
    "known_prototypes",
    "prototype_scans",
    "reference_structure",
    "volume_scan",
]

EOS_FACTORS = (0.88, 0.91, 0.94, 0.97, 1.0, 1.03, 1.06, 1.09, 1.12)
"""Volume over reference volume of the equation-of-state scan."""

WIDE_FACTORS = (0.82, 0.91, 1.0, 1.1, 1.22)
"""For prototypes whose volume is only estimated (to 10-15 %)."""

# tried for every element; the others in ELEMENTAL belong to particular elements
COMMON_ELEMENTAL = ("fcc", "bcc", "hcp", "diamond", "sc", "beta-tin", "simple-hexagonal")
BETWEEN_METALS = ("cesium-chloride", "l1_0", "l1_2", "d0_3", "d0_22", "laves-c15", "theta-al2cu")
WITH_NONMETALS = ("rocksalt", "cesium-chloride", "zincblende", "wurtzite", "nickeline", "fluorite",
                  "rutile", "anatase", "alpha-quartz", "corundum")  # fmt: skip
SYMMETRIC = frozenset({"rocksalt", "cesium-chloride", "zincblende", "wurtzite", "l1_0"})


@dataclass(frozen=True)
class PrototypeChoice:
    """A prototype and the elements in its slots."""

    kind: Prototype
    elements: tuple[str, ...]

    @property
    def label(self) -> str:
        """Short unique name: ``fcc-Si``, ``l1_2-AlCu``."""
        return f"{self.kind.name}-{''.join(self.elements)}"

    def structure(self) -> Atoms:
        """Return the primitive cell at the expected volume."""
        if self.kind.slots == 1:
            volume = volume_of_element_in(self.kind, self.elements[0])
        else:
            volume = volume_of_compound_in(self.kind, self.elements)
        return build(self.kind, self.elements, volume)


def known_prototypes(elements: Sequence[str], max_atoms: int) -> list[PrototypeChoice]:
    """Return every prototype that fits these elements in at most `max_atoms` atoms.

    Elements alone in close-packed and open lattices; pairs in the compounds usual between
    metals or with nonmetals (the more electronegative element where anions sit, and the
    other way round where that is another structure: antifluorite); triples in the
    perovskite, Heusler and layered structures. Most compounds first, then elements.
    """
    symbols = checked_elements(elements)
    found: list[PrototypeChoice] = []
    for trio in permutations(symbols, 3):
        found += [PrototypeChoice(prototype(name), trio) for name in _ternary_kinds(trio)]
    for pair in permutations(symbols, 2):
        found += [PrototypeChoice(prototype(name), pair) for name in _binary_kinds(pair)]
    for symbol in symbols:
        found += [PrototypeChoice(prototype(name), (symbol,)) for name in COMMON_ELEMENTAL]
    return [choice for choice in found if choice.kind.atoms <= max_atoms]


def _binary_kinds(pair: tuple[str, str]) -> list[str]:
    first, second = pair
    in_order = cation_and_anion(*sorted(pair)) == pair
    kinds: tuple[str, ...]
    if is_metal(first) and is_metal(second):
        kinds = BETWEEN_METALS
    elif in_order:
        kinds = WITH_NONMETALS
    else:
        kinds = ("fluorite",)
    return [name for name in kinds if in_order or name not in SYMMETRIC]


def _ternary_kinds(trio: tuple[str, str, str]) -> list[str]:
    first, second, _ = trio
    metals = [is_metal(s) for s in trio]
    if all(metals):
        return ["heusler"] if first < second else []  # A and B sites are alike
    if metals == [True, True, False]:
        return ["perovskite"] + (["delafossite-o3"] if first < second else [])
    return []


def volume_scan(
    atoms: Atoms,
    factors: Sequence[float],
    group: str,
    generator: str = "volume_scan",
    **details: object,
) -> list[Atoms]:
    """Return `atoms` at volumes `factors` times its own, all in one split group.

    Neighbours along a scan differ by one smooth coordinate: a fit that has seen one knows
    the next, so they must never be divided between training and test sets.
    Raises GeneratorError for factors that are not positive.
    """
    if any(not (np.isfinite(f) and f > 0) for f in factors):
        raise GeneratorError("a volume scan needs factors above zero")
    perfect = bare(atoms)
    return [
        tag(
            scaled_to_volume(perfect, factor * float(perfect.get_volume())),
            generator,
            group,
            volume_factor=float(factor),
            volume_A3_per_atom=factor * float(perfect.get_volume()) / len(perfect),
            **details,
        )
        for factor in factors
    ]


def prototype_scans(
    elements: Sequence[str],
    max_atoms: int,
    reference: Atoms | None = None,
    factors: Sequence[float] = WIDE_FACTORS,
    most: int | None = None,
) -> list[list[Atoms]]:
    """Return one volume scan for each known prototype other than the reference itself.

    At most `most` scans, taken at even steps from the list of `known_prototypes`.

    One group per (prototype, elements). Where the estimated volume puts atoms too close at
    the small end, the whole scan is moved to larger volumes.
    """
    own = None if reference is None else _fingerprint(reference)
    scans: list[list[Atoms]] = []
    choices = known_prototypes(elements, max_atoms)
    if most is not None and len(choices) > most:
        steps = np.rint(np.linspace(0, len(choices) - 1, max(most, 1))).astype(int)
        choices = [choices[int(i)] for i in np.unique(steps)]
    for choice in choices:
        cell = choice.structure()
        if own is not None and _fingerprint(cell) == own:
            continue
        tightest = closest_contact(cell) * min(factors) ** (1 / 3)
        if tightest < ORDINARY_CONTACT:
            widen = (ORDINARY_CONTACT / tightest) ** 3 * 1.001
            cell = scaled_to_volume(cell, widen * float(cell.get_volume()))
        scans.append(
            volume_scan(
                cell,
                factors,
                f"prototype-{choice.label}",
                "prototype",
                prototype=choice.kind.name,
                spacegroup=choice.kind.spacegroup,
            )
        )
    return scans


def _fingerprint(atoms: Atoms) -> tuple[object, ...]:
    """Space group and composition of the primitive cell: the same for the same structure type."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    primitive = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=1e-3)
    number = spglib.get_spacegroup(cell, symprec=1e-3)
    numbers = atoms.numbers if primitive is None else primitive[2]
    return (number, tuple(sorted(int(n) for n in numbers)))
