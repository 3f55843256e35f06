"""The material's expected ground state, from its elements and perhaps a hint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import gcd
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from ase.formula import Formula
from ase.io import read

from pyacemaker.generator.base import GeneratorError, checked_elements
from pyacemaker.generator.contact import (
    BUILT_BY_ASE,
    NOBLE_RADII,
    bare,
    closest_contact,
    crystal_neighbour_distance,
    right_handed,
    roomy,
)
from pyacemaker.generator.crystals import COMPOUND, Prototype, build, prototype
from pyacemaker.generator.decorate import ordered_alloy
from pyacemaker.generator.known import COMPOUNDS, ELEMENT_CRYSTALS, MeasuredCrystal
from pyacemaker.generator.periodic_table import element
from pyacemaker.generator.volumes import (
    atomic_volume,
    bond_length,
    cation_and_anion,
    is_metal,
    own_coordination,
    volume_of_compound_in,
    volume_of_element_in,
)
from pyacemaker.provenance import tag


def reference_structure(
    elements: Sequence[str],
    structure_hint: str | None = None,
    max_atoms: int | None = None,
) -> Atoms:
    """Return the primitive cell of the material's expected ground state.

    Parameters
    ----------
    elements
        Chemical symbols; all of them are in the result.
    structure_hint
        A prototype (``rutile``, ``bcc``), a formula (``TiO2``), both (``rutile TiO2``) or
        the path of a structure file that ASE reads. Without it: the measured ground state
        where known, otherwise the simplest compound in which charges balance, by Pauling's
        radius ratio rules; ordered alloys between metals.
    max_atoms
        If the ground state has more atoms (alpha-Mn: 29), a simpler crystal of the same
        composition takes its place.

    The provenance says how much it is worth: `source` is ``measured``, ``estimated`` or
    ``file``, `stand_in` is true where it is known not to be the true ground state.

    Raises
    ------
    GeneratorError
        For unknown elements, a hint that is neither, or none that fits `max_atoms`.
    """
    symbols = checked_elements(elements)
    if max_atoms is not None and max_atoms < len(symbols):
        raise GeneratorError(
            f"max_atoms is {max_atoms}: too few for one atom each of {', '.join(symbols)}"
        )
    if structure_hint and Path(structure_hint).is_file():
        return _from_file(Path(structure_hint), symbols, max_atoms)
    kind, formula = _read_hint(structure_hint, symbols)
    if len(symbols) == 1:
        return _element(symbols[0], kind, max_atoms)
    return _compound(symbols, kind, formula, max_atoms)


def _tagged(atoms: Atoms, name: str, source: str, *, stand_in: bool = False) -> Atoms:
    return tag(
        bare(atoms),
        "reference",
        f"reference-{name}-{atoms.get_chemical_formula()}",
        prototype=name,
        source=source,
        stand_in=stand_in,
    )


def _from_file(path: Path, symbols: tuple[str, ...], max_atoms: int | None) -> Atoms:
    found = read(path)
    if not isinstance(found, Atoms):
        raise GeneratorError(f"{path} holds several structures: give a file with one")
    if set(found.get_chemical_symbols()) != set(symbols):
        there = ", ".join(dict.fromkeys(found.get_chemical_symbols()))
        raise GeneratorError(f"{path} holds {there}, but the elements are {', '.join(symbols)}")
    if found.cell.rank < 3:
        raise GeneratorError(f"{path} has no three lattice vectors: give a crystal")
    if max_atoms is not None and len(found) > max_atoms:
        raise GeneratorError(f"{path} has {len(found)} atoms, more than max_atoms = {max_atoms}")
    found.pbc = True
    if closest_contact(found) < 0.5:
        raise GeneratorError(f"{path} has overlapping atoms: check its cell and positions")
    return _tagged(right_handed(found), path.stem, "file")


def _read_hint(
    hint: str | None, symbols: tuple[str, ...]
) -> tuple[Prototype | None, dict[str, int] | None]:
    """Split a hint into a prototype and a composition; a formula of all elements comes first."""
    kind: Prototype | None = None
    formula: dict[str, int] | None = None
    for word in (hint or "").replace(":", " ").replace(",", " ").split():
        counts = _formula(word)
        if counts is not None and set(counts) == set(symbols):
            formula = counts
            continue
        try:
            kind = prototype(word)
        except GeneratorError as unknown:
            if counts is not None:
                raise GeneratorError(
                    f"the formula '{word}' does not hold exactly {', '.join(symbols)}"
                ) from None
            raise GeneratorError(
                f"structure hint '{hint}' is no file, formula or prototype: {unknown}"
            ) from None
    return kind, formula


def _formula(word: str) -> dict[str, int] | None:
    try:
        counts = {str(s): int(n) for s, n in Formula(word, strict=True).count().items()}
    except ValueError:
        return None
    if not counts or any(atomic_numbers.get(s, 0) == 0 for s in counts):
        return None
    divisor = reduce(gcd, counts.values())
    return {s: n // divisor for s, n in counts.items()} if divisor else None


def from_measured(crystal: MeasuredCrystal) -> Atoms:
    """Return the primitive cell of a measured crystal."""
    return build(
        prototype(crystal.kind),
        crystal.elements,
        crystal.volume_per_atom,
        c_over_a=crystal.c_over_a,
        b_over_a=crystal.b_over_a,
        sites=crystal.sites,
    )


def _element(symbol: str, kind: Prototype | None, max_atoms: int | None) -> Atoms:
    limit = max_atoms or 10**6
    if kind is not None and kind.slots > 1:
        raise GeneratorError(f"{kind.name} takes {kind.slots} elements, only {symbol} is given")
    ground = _ground_state(symbol)
    if kind is None or ground.info["provenance"]["prototype"] == kind.name:
        if len(ground) <= limit:
            return ground
        if symbol in {"H", "N", "O", "F"} and limit >= 2:
            return _molecules(symbol)
        kind = prototype("bcc" if is_metal(symbol) else "sc")
        cell = build(kind, [symbol], volume_of_element_in(kind, symbol))
        return _tagged(cell, kind.name, "estimated", stand_in=True)
    if kind.atoms > limit:
        raise GeneratorError(
            f"{kind.name} has {kind.atoms} atoms, more than max_atoms = {max_atoms}: raise it"
        )
    return _tagged(
        build(kind, [symbol], volume_of_element_in(kind, symbol)), kind.name, "estimated"
    )


def _ground_state(symbol: str) -> Atoms:
    if symbol in ELEMENT_CRYSTALS:
        crystal = ELEMENT_CRYSTALS[symbol]
        cell = from_measured(crystal)
        return _tagged(cell, crystal.kind, "measured", stand_in=crystal.stand_in)
    state = reference_states[atomic_numbers[symbol]]
    if state and state["symmetry"] in BUILT_BY_ASE:
        name = "beta-tin" if symbol == "Sn" else str(state["symmetry"])
        return _tagged(right_handed(bulk(symbol)), name, "measured")
    cell = build(prototype("fcc"), [symbol], atomic_volume(symbol))
    return _tagged(cell, "fcc", "estimated", stand_in=True)


def _molecules(symbol: str) -> Atoms:
    """Two-atom stand-in for a molecular crystal: one molecule in each cubic cell."""
    edge = (2 * atomic_volume(symbol)) ** (1 / 3)
    bond = crystal_neighbour_distance(symbol)
    cell = Atoms([symbol] * 2, [(0, 0, 0), (0, 0, bond)], cell=[edge] * 3, pbc=True)
    return _tagged(cell, "molecule-sc", "estimated", stand_in=True)


def _compound(
    symbols: tuple[str, ...],
    kind: Prototype | None,
    formula: Mapping[str, int] | None,
    max_atoms: int | None,
) -> Atoms:
    limit = max_atoms or 10**6
    for crystal in COMPOUNDS:
        cell_kind = prototype(crystal.kind)
        if set(crystal.elements) != set(symbols) or cell_kind.atoms > limit:
            continue
        if kind is not None and kind.name != crystal.kind:
            continue
        if formula is not None and _composition(cell_kind, crystal.elements) != formula:
            continue
        return _tagged(from_measured(crystal), crystal.kind, "measured")
    if kind is not None and kind.slots == 1:
        return _alloy(kind, symbols, formula, limit)
    if kind is not None and kind.slots != len(symbols):
        raise GeneratorError(f"{kind.name} takes {kind.slots} elements, not {len(symbols)}")
    if kind is not None and kind.atoms > limit:
        raise GeneratorError(
            f"{kind.name} has {kind.atoms} atoms, more than max_atoms = {max_atoms}: raise it"
        )
    choice = _chosen(symbols, kind, formula, limit)
    if choice is not None:
        shape, order = choice
        cell = build(shape, order, volume_of_compound_in(shape, order))
        return _tagged(roomy(cell), shape.name, "estimated")
    if formula is not None and kind is not None:
        wanted = "".join(f"{s}{n}" for s, n in formula.items())
        raise GeneratorError(f"{kind.name} cannot have the composition {wanted}")
    lattice = "fcc" if any(is_metal(s) for s in symbols) else "sc"
    return _alloy(prototype(lattice), symbols, formula, limit)


def _alloy(
    kind: Prototype, symbols: tuple[str, ...], formula: Mapping[str, int] | None, limit: int
) -> Atoms:
    counts = dict(formula) if formula else dict.fromkeys(symbols, 1)
    if sum(counts.values()) > limit:
        raise GeneratorError(
            f"a cell of {sum(counts.values())} atoms is needed, max_atoms is {limit}: raise it"
        )
    cell = roomy(ordered_alloy(kind, counts))
    return _tagged(cell, f"{kind.name}-ordered", "estimated", stand_in=True)


def _composition(kind: Prototype, elements: Sequence[str]) -> dict[str, int]:
    """Smallest whole-number composition of `kind` with these elements in its slots."""
    return dict(zip(elements, kind.formula_key(), strict=True))


def _slots_for(kind: Prototype, formula: Mapping[str, int]) -> tuple[str, ...] | None:
    """Elements in slot order such that `kind` has this formula; None if it cannot have it."""
    if kind.slots != len(formula):
        return None
    key, left, order = kind.formula_key(), dict(formula), []
    for wanted in key:
        fitting = [s for s, n in left.items() if n == wanted]
        if not fitting:
            return None
        fitting.sort(key=_rank)
        order.append(fitting[0])
        del left[fitting[0]]
    return tuple(order)


def _rank(symbol: str) -> tuple[bool, float]:
    """Metals first, larger atoms first: the order of slots A, B, C."""
    return (not is_metal(symbol), -atomic_volume(symbol))


def _chosen(
    symbols: tuple[str, ...],
    kind: Prototype | None,
    formula: Mapping[str, int] | None,
    limit: int,
) -> tuple[Prototype, tuple[str, ...]] | None:
    """Prototype and slot order by rule; None where no rule applies."""
    if kind is not None and formula is None:
        return kind, _natural_order(kind, symbols)
    if kind is not None and formula is not None:
        order = _slots_for(kind, formula)
        return None if order is None else (kind, order)
    counts = dict(formula) if formula else _balanced(symbols)
    if counts is None:
        return None
    fitting = []
    for shape in COMPOUND:
        order = _slots_for(shape, counts)
        if order is not None and shape.atoms <= limit and _plausible(shape, order):
            fitting.append((shape, order))
    if not fitting:
        return None
    return min(fitting, key=lambda pair: abs(_cation_has(*pair) - _wanted_coordination(pair[1])))


ALLOY_KINDS = frozenset({"l1_0", "l1_2", "d0_3", "d0_22", "laves-c15", "theta-al2cu", "heusler"})


def _plausible(shape: Prototype, order: tuple[str, ...]) -> bool:
    metals = all(is_metal(s) for s in order)
    if metals:
        return shape.name in ALLOY_KINDS or shape.name == "cesium-chloride"
    if shape.name == "perovskite":
        return 0.8 < _tolerance_factor(order) < 1.08
    return shape.name not in ALLOY_KINDS


def _natural_order(kind: Prototype, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Cations before anions, the larger cation first, the majority of an alloy last."""
    if kind.slots == 2 and not all(is_metal(s) for s in symbols):
        first, second = symbols
        return cation_and_anion(first, second)
    if kind.slots == 2:
        return symbols
    return tuple(sorted(symbols, key=_rank))


def _balanced(symbols: tuple[str, ...]) -> dict[str, int] | None:
    """Smallest composition with one anion in which common charges cancel."""
    metals = [s for s in symbols if is_metal(s)]
    if len(metals) == len(symbols):
        return dict.fromkeys(symbols, 1) if len(symbols) == 2 else None
    if len(symbols) == 3 and len(metals) == 2:
        anion = next(s for s in symbols if not is_metal(s))
        return {metals[0]: 1, metals[1]: 1, anion: 3}
    if len(symbols) != 2:
        return None
    if NOBLE_RADII.keys() & set(symbols):
        return dict.fromkeys(symbols, 1)
    cation, anion = cation_and_anion(*symbols)
    plus = [q for q in element(cation).common_oxidation_states if q > 0]
    minus = [-q for q in element(anion).common_oxidation_states if q < 0]
    if not plus or not minus:
        return {cation: 1, anion: 1}
    common = gcd(plus[0], minus[0])
    return {cation: minus[0] // common, anion: plus[0] // common}


def _cation_has(shape: Prototype, order: tuple[str, ...]) -> float:
    """Return how many neighbours the cation has: in an anti-structure it is in slot B."""
    if len(order) != 2 or all(is_metal(s) for s in order):
        return shape.coordination
    first, second = shape.formula_key()
    swapped = _cation_of(*order) != order[0]
    return shape.coordination * first / second if swapped else shape.coordination


def _cation_of(first: str, second: str) -> str:
    """Return the metal of the two; of two nonmetals the less electronegative."""
    metals = [s for s in (first, second) if is_metal(s)]
    return metals[0] if len(metals) == 1 else cation_and_anion(first, second)[0]


def _wanted_coordination(order: tuple[str, ...]) -> int:
    """Coordination of the cation by Pauling's radius ratio rules (JACS 51, 1010 (1929))."""
    if all(is_metal(s) for s in order):
        volumes = [atomic_volume(s) for s in order]
        # Hume-Rothery: radii within 15 %; and close packing only among the close-packed
        alike = max(volumes) / min(volumes) < 1.15**3
        return 12 if alike and all(own_coordination(s) == 12 for s in order) else 8
    cation, anion = order[0], order[-1]
    if len(order) == 2 and _cation_of(*order) != cation:
        cation, anion = anion, cation
    if not is_metal(cation):
        return 4
    plus, minus = element(cation).average_cationic_radius, element(anion).average_anionic_radius
    if not plus or not minus:
        return 6
    ratio = (float(plus) - 0.14) / (float(minus) + 0.14)  # Pauling's scale of radii
    return 4 if ratio < 0.414 else 6 if ratio < 0.732 else 8


def _tolerance_factor(order: tuple[str, ...]) -> float:
    """Goldschmidt's tolerance factor of ABX3; 0 where a bond length is unknown."""
    a, b, x = order
    longest, shortest = bond_length(a, x, 6), bond_length(b, x, 6)
    return longest / (2**0.5 * shortest) if np.isfinite(longest) and shortest > 0 else 0.0
