"""What the elements alone say about a material: metal or not, magnetic or not, how hot it melts.

Every function returns the number with the rule behind it in words (`Ruled`), so that
`pyacemaker config show` can say why. Composition matters as little as possible, for a
campaign explores many; where it must, the charge-neutral formula of the common oxidation
states is taken, or the formula of the structure given.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from math import gcd, isfinite
from typing import Any, Generic, TypeVar

import numpy as np
from ase.data import atomic_numbers, covalent_radii, reference_states

from pyacemaker.generator.periodic_table import element

T = TypeVar("T")

_KELVIN_PER_EV = 11604.518
# k_B T_m = 0.032 E_coh: Guinea, Rose, Smith, Ferrante, Appl. Phys. Lett. 44, 53 (1984).
_MELTING_PER_BOND_ENERGY = 0.032
# Pauling, The Nature of the Chemical Bond, 3rd ed., eq. 3-12: 23.06 kcal/mol = 1 eV for each
# bond and squared unit of electronegativity, less the strong bonds of O2 and N2.
_PAULING_LOSS_EV = {"O": 1.13, "N": 2.40}

# Cohesive energies (eV an atom, against free atoms) of elements whose melting point tells of the
# weak forces between molecules, not of bonds: Kittel, Introduction to Solid State Physics,
# 8th ed., table 3.1; H: half the dissociation energy of H2.
_COHESIVE_EV = {
    **{"H": 2.24, "N": 4.92, "O": 2.60, "F": 0.84, "P": 3.43, "S": 2.85, "Cl": 1.40},
    **{"Se": 2.46, "Br": 1.22, "I": 1.11},
}
# Molecular crystals melt by weak forces whatever they are made of (CH4 91 K, NH3 195 K,
# CO2 217 K, H2O 273 K, C6H6 279 K).
_MOLECULAR_MELTING_K = 250.0

# Spin moments (mu_B an atom) to start the SCF from: a little above the elements' own (Cr's
# staggered moment, Fe 2.2, Co 1.7, Ni 0.6), for an SCF finds its way down but hardly up;
# f elements by Hund's rule for the trivalent ion.
SPIN_MOMENTS_MUB: Mapping[str, float] = {
    **{"Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0},
    **{"Ce": 1.0, "Pr": 2.0, "Nd": 3.0, "Pm": 4.0, "Sm": 5.0, "Eu": 7.0, "Gd": 7.0},
    **{"Tb": 6.0, "Dy": 5.0, "Ho": 4.0, "Er": 3.0, "Tm": 2.0},
    **{"U": 2.0, "Np": 3.0, "Pu": 5.0},
}
# Valence electrons of pseudopotentials that keep the semicore (PseudoDojo, SSSP): what turns a
# moment into Quantum ESPRESSO's starting_magnetization = (up - down) / (up + down).
_D_VALENCE = {"Cr": 14, "Mn": 15, "Fe": 16, "Co": 17, "Ni": 18}
_F_VALENCE = 14


@dataclass(frozen=True)
class Ruled(Generic[T]):
    """A value and the rule that gave it, in words."""

    value: T
    why: str


@dataclass(frozen=True)
class Constant(Ruled[T]):
    """A value that does not depend on the elements, and why it was chosen."""


def electronegativity(symbol: str) -> float:
    """Return Pauling's electronegativity; NaN for the noble gases that have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(element(symbol).X)


def mass_amu(symbol: str) -> float:
    """Return the atomic mass in unified atomic mass units."""
    return float(element(symbol).atomic_mass)


def melting_point(symbol: str) -> float | None:
    """Return the element's measured melting point (K), or None where none is tabulated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = element(symbol).melting_point
    return float(found) if found is not None and isfinite(float(found)) else None


def _is_metal(symbol: str) -> bool:
    return bool(element(symbol).is_metal) or symbol == "Po"


def _has_open_d_or_f(symbol: str) -> bool:
    found = element(symbol)
    return found.block in {"d", "f"} and found.group != 12


def guess_metallic(elements: Sequence[str]) -> Ruled[bool]:
    """Guess whether materials of `elements` have a Fermi surface.

    In doubt a metal: an insulator sampled like a metal only costs more, a metal sampled
    like an insulator is wrong. The rules, first match wins:

    1. one element: metals by the periodic table, and the semimetals As and Sb;
    2. no metal at all (nonmetals, metalloids): insulator or semiconductor;
    3. metals alone: metal;
    4. oxygen or a halogen with metals: insulator, if the electronegativities differ by 1.0;
    5. an open d or f shell with any other nonmetal (TiC, VN, FeSi, PdH): metal;
    6. s, p and closed-d metals with H, C, N, P, As, Sb, S, Se, Te: octets are filled,
       insulator or semiconductor (LiH, GaAs, ZnS);
    7. the rest (MgB2, Al-Si): metal.
    """
    names = " ".join(elements)
    present = [e for e in elements if not element(e).is_noble_gas]
    metals = [e for e in present if _is_metal(e)]
    others = [e for e in present if not _is_metal(e)]
    if len(elements) == 1 and elements[0] in {"As", "Sb"}:
        return Ruled(True, f"{names} is a semimetal, sampled like a metal")
    if not metals:
        return Ruled(False, f"no metal among {names}: insulator or semiconductor")
    if not others:
        return Ruled(True, f"only metals among {names}: metal")
    strong = [e for e in others if e == "O" or element(e).is_halogen]
    for anion in strong:
        spread = electronegativity(anion) - min(electronegativity(m) for m in metals)
        if spread >= 1.0:
            return Ruled(
                False,
                f"{anion} takes the metals' electrons (electronegativity difference "
                f"{spread:.2f} >= 1.0): insulator",
            )
    if any(_has_open_d_or_f(m) for m in metals):
        return Ruled(True, f"open d or f shell and no oxygen or halogen in {names}: metal")
    octet = {"H", "C", "N", "P", "As", "Sb", "S", "Se", "Te"} & set(others)
    if octet:
        return Ruled(False, f"{', '.join(sorted(octet))} fills its octet in {names}: insulator")
    return Ruled(True, f"{names}: no rule makes it an insulator; a metal is the safe guess")


def guess_magnetization(
    elements: Sequence[str], valence: Mapping[str, float] | None = None
) -> Ruled[dict[str, float]]:
    """Return Quantum ESPRESSO's starting_magnetization for the elements that need one.

    Dimensionless, (up - down) / (up + down) of the valence electrons, whose number
    `valence` gives (default: that of pseudopotentials that keep the semicore); empty where
    no element is magnetic. All moments start parallel: an antiferromagnet needs the user.
    """
    found = {}
    for symbol in elements:
        if (moment := SPIN_MOMENTS_MUB.get(symbol)) is not None:
            electrons = (valence or {}).get(symbol) or _D_VALENCE.get(symbol, _F_VALENCE)
            # PseudoDojo's lanthanides may keep their 4f electrons in the core: bounded
            found[symbol] = min(round(moment / electrons, 2), 0.8)
    if not found:
        return Ruled({}, f"no open magnetic d or f shell among {' '.join(elements)}: no spin")
    told = ", ".join(f"{e} {SPIN_MOMENTS_MUB[e]:g} mu_B" for e in found)
    return Ruled(
        found,
        f"moments to start from: {told}, over the valence electrons, all parallel "
        "(give your own for an antiferromagnet)",
    )


def neutral_formula(elements: Sequence[str]) -> dict[str, int] | None:
    """Return a charge-neutral formula of the common oxidation states, or None.

    The most electronegative elements that are not metals are the anions. Cations in
    equal numbers, anions in equal numbers: Ti O gives TiO2, Na Cl gives NaCl.
    """
    charges: dict[str, int] = {}
    for symbol in elements:
        if element(symbol).is_noble_gas:
            return None
    cations, anions = split_ions(elements)
    for symbol in cations:
        charges[symbol] = max(element(symbol).common_oxidation_states, default=0)
    for symbol in anions:
        charges[symbol] = -_anion_valence(symbol)
    plus = sum(charges[e] for e in cations)
    minus = -sum(charges[e] for e in anions)
    if plus <= 0 or minus <= 0:
        return None
    shared = gcd(plus, minus)
    counts = {e: minus // shared if e in cations else plus // shared for e in elements}
    divisor = reduce(gcd, counts.values())
    return {e: n // divisor for e, n in counts.items()}


def split_ions(elements: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split into cations and anions; both lists are empty where there are no anions.

    Anions are the elements of groups 13 to 17 (and H) whose electronegativity lies in the
    upper half between the least and the most electronegative.
    """
    values = {e: electronegativity(e) for e in elements}
    low, high = min(values.values()), max(values.values())
    if len(elements) < 2 or not high > low:
        return [], []
    anions = [
        e for e in elements if values[e] > 0.5 * (low + high) and _anion_valence(e) and e != "B"
    ]
    cations = [e for e in elements if e not in anions]
    return (cations, anions) if anions else ([], [])


def _anion_valence(symbol: str) -> int:
    if symbol == "H":
        return 1
    found = element(symbol)
    if _is_metal(symbol) or not 13 <= found.group <= 17:
        return 0
    return 18 - int(found.group)


def estimate_melting(
    elements: Sequence[str], formula: Mapping[str, int] | None = None
) -> Ruled[float]:
    """Estimate the melting point of a material of `elements` (K), good to a factor of two.

    One element: its measured melting point. Molecular compounds (nonmetals alone): 250 K.
    Otherwise 0.032 / k_B times a bond energy, by k_B T_m = 0.032 E_coh (Guinea et al. 1984):
    the elements' own part is the mean of their melting points (for elements of molecules,
    0.032 / k_B times their cohesive energies), weighted by `formula`, or by
    `neutral_formula`, or equally; ionic and polar bonds add Pauling's bond energy. At most
    4000 K. Raises ValueError where an element has no tabulated melting point.
    """
    measured = {e: melting_point(e) for e in elements}
    unknown = [e for e, value in measured.items() if value is None]
    if unknown:
        raise ValueError(f"no melting point is tabulated for {', '.join(unknown)}")
    points = {e: value for e, value in measured.items() if value is not None}
    if len(elements) == 1:
        return Ruled(points[elements[0]], f"measured melting point of {elements[0]}")
    real = [e for e in elements if not element(e).is_noble_gas]
    if real and all(_is_molecular(e) for e in real):
        return Ruled(_MOLECULAR_MELTING_K, f"{' '.join(elements)}: nonmetals alone, molecules")
    for symbol, energy in _COHESIVE_EV.items():
        if symbol in points:
            points[symbol] = _MELTING_PER_BOND_ENERGY * energy * _KELVIN_PER_EV
    counts = dict(formula or neutral_formula(elements) or dict.fromkeys(elements, 1))
    atoms = sum(counts.values())
    mean = sum(counts[e] * points[e] for e in counts) / atoms
    name = "".join(f"{e}{counts[e] if counts[e] > 1 else ''}" for e in counts)
    bonds_eV = _pauling_bond_energy(counts) / atoms
    if bonds_eV <= 0:
        return Ruled(mean, f"mean over the elements of {name}")
    total = min(mean + _MELTING_PER_BOND_ENERGY * bonds_eV * _KELVIN_PER_EV, 4000.0)
    return Ruled(
        total,
        f"{name}: mean over its elements {mean:.0f} K + 0.032/k_B x Pauling's bond energy "
        f"{bonds_eV:.2f} eV/atom",
    )


def _is_molecular(symbol: str) -> bool:
    found = element(symbol)
    return not _is_metal(symbol) and not found.is_metalloid


def _pauling_bond_energy(counts: Mapping[str, int]) -> float:
    """Return Pauling's formation energy of a formula unit (eV, positive is bound)."""
    elements = list(counts)
    if any(element(e).is_noble_gas for e in elements):
        return 0.0
    cations, anions = split_ions(elements)
    if not anions:
        return 0.0
    bonds = {e: counts[e] * _anion_valence(e) for e in anions}
    cation_atoms = sum(counts[e] for e in cations)
    energy = 0.0
    for anion, cation in itertools.product(anions, cations):
        share = bonds[anion] * counts[cation] / cation_atoms
        energy += share * (electronegativity(anion) - electronegativity(cation)) ** 2
    lost = sum(counts[e] * _PAULING_LOSS_EV.get(e, 0.0) for e in anions)
    return max(energy - lost, 0.0)


@cache
def neighbour_distance(symbol: str) -> float:
    """Return the nearest-neighbour distance of the element's solid (angstrom).

    From ASE's reference lattice where that is a lattice of single atoms, otherwise
    twice the covalent radius (Cordero 2008).
    """
    found = reference_cell(symbol)
    if found is not None:
        return _shortest_distance(found)
    return 2 * float(covalent_radii[atomic_numbers[symbol]])


@cache
def reference_cell(symbol: str) -> Any | None:
    """Return the primitive cell (ase.Atoms) of the element's reference lattice, or None.

    None where ASE has no basis for it (B, P, alpha-Mn), or where its simple lattice is not
    the element's own: the shortest distance must lie within 0.8 to 1.35 covalent
    diameters (hcp Te, by 1.42, is not), noble gases excepted.
    """
    from ase.build import bulk

    state = reference_states[atomic_numbers[symbol]]
    if state is None or state["symmetry"] == "diatom":
        return None
    try:
        atoms = bulk(symbol)
    except (ValueError, KeyError, RuntimeError, TypeError, NotImplementedError):
        return None
    ratio = _shortest_distance(atoms) / (2 * covalent_radii[atomic_numbers[symbol]])
    if not (0.8 <= ratio <= 1.35 or element(symbol).is_noble_gas):
        return None
    return atoms


def _shortest_distance(atoms: Any) -> float:
    positions = atoms.get_positions()
    cell = np.asarray(atoms.cell)
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell
    vectors = positions[:, None, None, :] - positions[None, :, None, :] + shifts
    lengths = np.linalg.norm(vectors, axis=-1)
    return float(lengths[lengths > 1e-6].min())


@cache
def pair_distance(first: str, second: str) -> float:
    """Return a typical bond length of two elements (angstrom).

    Unlike atoms: Shannon's ionic radii of the common oxidation states where the
    electronegativities differ by 1.0 or more, otherwise the covalent radii.
    """
    if first == second:
        return neighbour_distance(first)
    cation, anion = sorted((first, second), key=electronegativity)
    if electronegativity(anion) - electronegativity(cation) >= 1.0 and _anion_valence(anion):
        plus = element(cation).ionic_radii.get(
            max(element(cation).common_oxidation_states, default=0)
        )
        minus = element(anion).ionic_radii.get(-_anion_valence(anion))
        if plus is not None and minus is not None:
            return float(plus) + float(minus)
    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])
