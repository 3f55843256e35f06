"""Starting volumes, before anything has been computed.

Elements: the measured crystal where ASE or the table in `known.py` has it, otherwise the
molar volume, otherwise the covalent radius. Compounds: bond lengths from Shannon's ionic
radii (Acta Cryst. A32, 751 (1976), through pymatgen), from covalent radii, or, between
metals, additive atomic volumes (Zen's law). Volumes of the same matter in another
coordination follow Goldschmidt's contraction of bond lengths
(Trans. Faraday Soc. 25, 253 (1929)). Errors are 5-15 % in volume, which a volume scan covers.

Lengths in angstrom, volumes in angstrom^3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.neighborlist import neighbor_list

from pyacemaker.generator.contact import (
    BUILT_BY_ASE,
    NOBLE_RADII,
    contact_distance,
    volume_per_atom,
)
from pyacemaker.generator.crystals import Prototype, build
from pyacemaker.generator.known import ELEMENT_CRYSTALS
from pyacemaker.generator.periodic_table import element

# bond length against that of twelve neighbours in metallic and covalent matter
GOLDSCHMIDT_METAL = {12: 1.0, 8: 0.97, 6: 0.96, 4: 0.88}
# bond length against that of six neighbours between ions
GOLDSCHMIDT_ION = {12: 1.12, 8: 1.03, 6: 1.0, 4: 0.94}

LEAST_OF_ADDITIVE = 0.35
"""A compound's volume over that of its elements, at least (BN: 0.39): hydrogen's tiny radius
must not leave the other atoms without room."""

A3_PER_CM3_MOL = 1.0 / 0.602214076


def bond_factor(coordination: int, table: Mapping[int, float]) -> float:
    """Return the relative bond length at a coordination, interpolated in the table."""
    known = sorted(table)
    return float(np.interp(coordination, known, [table[n] for n in known]))


def is_metal(symbol: str) -> bool:
    """Tell whether an element is a metal in its standard state (metalloids are not)."""
    return bool(element(symbol).is_metal)


@cache
def atomic_volume(symbol: str) -> float:
    """Return the volume per atom (angstrom^3) of the element's own solid."""
    if symbol in ELEMENT_CRYSTALS:
        return ELEMENT_CRYSTALS[symbol].volume_per_atom
    state = reference_states[atomic_numbers[symbol]]
    if (
        state is not None
        and state["symmetry"] in BUILT_BY_ASE
        and state.get("basis", 0) is not None
    ):
        return volume_per_atom(bulk(symbol))
    molar = element(symbol).molar_volume
    if molar is not None:
        return float(molar) * A3_PER_CM3_MOL
    # close packing of spheres a tenth larger than the covalent radius, as in the alkali metals
    return float((2.2 * covalent_radii[atomic_numbers[symbol]]) ** 3 / np.sqrt(2))


def own_coordination(symbol: str) -> int:
    """Return the coordination in which `atomic_volume` was taken: 3-4 for open crystals."""
    if symbol in ELEMENT_CRYSTALS:
        return ELEMENT_CRYSTALS[symbol].coordination
    state = reference_states[atomic_numbers[symbol]]
    by_symmetry = {"fcc": 12, "hcp": 12, "bcc": 8, "diamond": 4, "sc": 6, "bct": 8}
    return by_symmetry.get(state["symmetry"] if state else "", 8)


def volume_of_element_in(kind: Prototype, symbol: str) -> float:
    """Return the expected volume per atom (angstrom^3) of an element in a prototype.

    The atomic volume of the element's own crystal turned into its nearest distance in that
    kind of coordination, shortened or lengthened by Goldschmidt's rule. Matter held by
    molecules or van der Waals forces keeps its volume.
    """
    volume = atomic_volume(symbol)
    own = own_coordination(symbol)
    if own < 4 or symbol in NOBLE_RADII or kind.coordination < 4:
        return volume
    packing = {12: 2**0.5, 8: 1.299, 6: 1.0, 4: 0.6495}  # d^3 / V of fcc, bcc, sc, diamond
    cubed = volume * float(np.interp(own, sorted(packing), sorted(packing.values())))
    own_distance = float(np.cbrt(cubed))
    wanted = bond_factor(kind.coordination, GOLDSCHMIDT_METAL)
    distance = own_distance * wanted / bond_factor(own, GOLDSCHMIDT_METAL)
    trial = build(kind, [symbol], 20.0)
    shortest = _mean_nearest(trial, kind.coordination)
    return 20.0 * (distance / shortest) ** 3


def _mean_nearest(atoms: Atoms, count: int) -> float:
    """Mean of the first atom's `count` shortest distances (angstrom)."""
    first, distances = neighbor_list("id", atoms, 6.5)
    return float(np.sort(distances[first == 0])[:count].mean())


def _ionic_radius(symbol: str, sign: int, charge: int | None = None) -> float | None:
    radii = element(symbol).ionic_radii
    fitting = {q: r for q, r in radii.items() if q * sign > 0}
    if not fitting:
        return None
    if charge in fitting:
        return float(fitting[charge])
    common = [q for q in element(symbol).common_oxidation_states if q in fitting]
    return float(fitting[common[0]] if common else np.mean(list(fitting.values())))


def _negativity(symbol: str) -> float:
    value = element(symbol).data.get("X")
    known = isinstance(value, int | float) and not np.isnan(value)
    return float(value) if known else 4.0


def cation_and_anion(first: str, second: str) -> tuple[str, str]:
    """Return the pair with the more electronegative element (Pauling) last."""
    return (first, second) if _negativity(first) <= _negativity(second) else (second, first)


def bond_length(first: str, second: str, coordination: int, charge: int | None = None) -> float:
    """Return the expected nearest distance (angstrom) of two unlike elements.

    `charge` is the cation's, for its Shannon radius. Between a metal and a nonmetal with
    known ionic radii: their sum, scaled from six neighbours to `coordination`. Otherwise
    the sum of the covalent radii, taken as that of four neighbours.
    """
    if first in NOBLE_RADII or second in NOBLE_RADII:

        def size(symbol: str) -> float:
            return NOBLE_RADII.get(symbol) or (atomic_volume(symbol) * 2**0.5) ** (1 / 3) / 2

        return size(first) + size(second)
    cation, anion = cation_and_anion(first, second)
    if is_metal(cation) and not is_metal(anion):
        plus, minus = _ionic_radius(cation, 1, charge), _ionic_radius(anion, -1)
        if anion == "H":
            minus = 1.26  # hydride, between LiH (1.14) and CsH (1.46), less Shannon's cation
        if plus is not None and minus is not None:
            return (plus + minus) * bond_factor(coordination, GOLDSCHMIDT_ION)
        if element(cation).is_transition_metal:  # carbides, nitrides, silicides
            return contact_distance(first, second) * bond_factor(coordination, GOLDSCHMIDT_ION)
    polarity = abs(_negativity(first) - _negativity(second))
    covalent = covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]]
    covalent -= 0.09 * min(polarity, 2.0)  # Schomaker and Stevenson, JACS 63, 37 (1941)
    growth = bond_factor(coordination, GOLDSCHMIDT_METAL) / GOLDSCHMIDT_METAL[4]
    return float(covalent * growth)


def mixed_volume(composition: Mapping[str, int]) -> float:
    """Return the mean volume per atom (angstrom^3) of any composition.

    Among metals the atomic volumes add. Where ions or covalent bonds form, the volume is
    that of a rock salt of the composition's mean bond; of one element, its own.
    """
    total = sum(composition.values())
    symbols = [s for s, n in composition.items() if n > 0]
    additive = sum(atomic_volume(s) * n for s, n in composition.items()) / total
    pairs = [(a, b) for i, a in enumerate(symbols) for b in symbols[i + 1 :]]
    bonded = [(a, b) for a, b in pairs if is_metal(a) != is_metal(b) or not is_metal(a)]
    if not bonded:
        return additive
    weights = [composition[a] * composition[b] for a, b in bonded]
    salts = [bond_length(a, b, 6) ** 3 for a, b in bonded]
    salt = float(np.average(salts, weights=weights))
    # rock salt is the mixture at equal parts; towards a pure element its own volume
    share = sum(weights) * 4 / total**2
    return max(float(additive + min(share, 1.0) * (salt - additive)), LEAST_OF_ADDITIVE * additive)


def volume_of_compound_in(kind: Prototype, elements: Sequence[str]) -> float:
    """Return the expected volume per atom (angstrom^3) of a compound in a prototype.

    Metals add their atomic volumes; otherwise every kind of unlike bond of the prototype is
    compared with its expected length; their mean sets the size, for real perovskites and
    layered oxides compress one bond and stretch the other.
    """
    composition: dict[str, int] = {}
    for symbol, slot in zip(elements, sorted(kind.counts), strict=True):
        composition[symbol] = composition.get(symbol, 0) + kind.counts[slot]
    if all(is_metal(s) for s in elements):
        return mixed_volume(composition)
    trial = build(kind, elements, 15.0)
    symbols = np.array(trial.get_chemical_symbols())
    first, second, distance = neighbor_list("ijd", trial, 4.5)
    charge = _cation_charge(composition)
    growths = []
    for i, a in enumerate(elements):
        for b in elements[i + 1 :]:
            if is_metal(a) and is_metal(b):
                continue
            here = distance[(symbols[first] == a) & (symbols[second] == b)]
            if len(here) == 0:
                continue
            around = here[here < 1.15 * here.min()]
            cation = cation_and_anion(a, b)[0]
            neighbours = round(len(around) / int((symbols == cation).sum()))
            wanted = bond_length(a, b, max(neighbours, 2), charge.get(cation))
            growths.append(wanted / float(around.mean()))
    if not growths:
        return mixed_volume(composition)
    total = sum(composition.values())
    additive = sum(atomic_volume(s) * n for s, n in composition.items()) / total
    return max(15.0 * float(np.mean(growths)) ** 3, LEAST_OF_ADDITIVE * additive)


def _cation_charge(composition: Mapping[str, int]) -> dict[str, int]:
    """Charge of the metal in a binary salt that balances its anions; {} where unclear."""
    if len(composition) != 2:
        return {}
    cation, anion = cation_and_anion(*composition)
    states = [q for q in element(anion).common_oxidation_states if q < 0]
    if not states or not is_metal(cation):
        return {}
    charge = -states[0] * composition[anion] / composition[cation]
    return {cation: round(charge)} if charge == round(charge) else {}
