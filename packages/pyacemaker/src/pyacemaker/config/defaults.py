"""Numbers that follow from the elements: each with its rule in words."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

from ase import units

from pyacemaker.config.physics import (
    Ruled,
    estimate_melting,
    mass_amu,
    neighbour_distance,
    pair_distance,
)

_FRACTIONS_OF_MELTING = (0.3, 0.6, 0.9)
_METAL_KSPACING_PER_A, _INSULATOR_KSPACING_PER_A = 0.20, 0.30
_METAL_DEGAUSS_RY, _INSULATOR_DEGAUSS_RY = 0.02, 0.01
_SHELLS = 2.5
_CUTOFF_RANGE_A = (4.5, 7.0)
# Codes whose labels take milliseconds to a second, however many there are: no DFT.
_CHEAP = frozenset({"ase", "rootstock"})


def temperatures(
    elements: Sequence[str], formula: Mapping[str, int] | None = None
) -> Ruled[tuple[float, ...]]:
    """Return three MD temperatures (K): 0.3, 0.6 and 0.9 of the estimated melting point.

    Raises ValueError where an element has no tabulated melting point.
    """
    melting = estimate_melting(elements, formula)
    values = tuple(_two_digits(fraction * melting.value) for fraction in _FRACTIONS_OF_MELTING)
    return Ruled(
        values,
        f"0.3, 0.6 and 0.9 of the estimated melting point {melting.value:.0f} K ({melting.why})",
    )


def _two_digits(value: float) -> float:
    """Round to 10 K, below 100 K to 1 K, below 10 K to 0.1 K (never to zero)."""
    digits = -1 if value >= 100 else 0 if value >= 10 else 1
    return max(round(value, digits), 0.1)


def timestep_fs(elements: Sequence[str]) -> Ruled[float]:
    """Return the MD time step (fs): a twentieth of the fastest vibration's period, in steps.

    H-O stretches have 9 fs, C-C and C-O 20-25 fs, Si-Si 64 fs, transition metals 100 fs.
    """
    lightest = min(elements, key=mass_amu)
    mass = mass_amu(lightest)
    step = 0.5 if mass < 5 else 1.0 if mass < 20 else 2.0
    return Ruled(
        step, f"lightest element {lightest} ({mass:.1f} u): 0.5 below 5 u, 1 below 20 u, else 2"
    )


def kspacing(metallic: bool) -> Ruled[float]:
    """Return the largest distance of k-points (1/angstrom, reciprocal vectors 2 pi / L)."""
    if metallic:
        return Ruled(_METAL_KSPACING_PER_A, "metal: the Fermi surface wants dense k-points")
    return Ruled(_INSULATOR_KSPACING_PER_A, "insulator: filled bands, k-points may be sparse")


def degauss(metallic: bool) -> Ruled[float]:
    """Return the width of the smearing (Ry)."""
    if metallic:
        return Ruled(_METAL_DEGAUSS_RY, "metal: 0.02 Ry with cold smearing, the usual compromise")
    return Ruled(
        _INSULATOR_DEGAUSS_RY,
        "insulator: small, and only because hot, melted or broken structures lose their gap",
    )


def smearing_width(metallic: bool) -> Ruled[float]:
    """Return the width of the smearing (eV) of codes that are told it in eV."""
    if metallic:
        return Ruled(0.1, "metal: 0.1 eV, at which forces hardly depend on it")
    return Ruled(0.05, "insulator: small, and only because broken structures lose their gap")


def smearing(metallic: bool) -> Ruled[str]:
    """Return the kind of smearing, in Quantum ESPRESSO's word."""
    if metallic:
        return Ruled("mv", "metal: cold smearing (Marzari-Vanderbilt), forces hardly depend on it")
    return Ruled("gauss", "insulator: occupations stay 0 or 1, and never negative in a gap")


def cutoff(elements: Sequence[str]) -> Ruled[float]:
    """Return the reach of the potential (angstrom).

    2.5 times the mean neighbour distance over all pairs of elements (five shells of fcc,
    four of bcc), at least 1.7 times the longest (two shells), within 4.5 to 7 angstrom.
    """
    pairs = list(itertools.combinations_with_replacement(elements, 2))
    mean = sum(pair_distance(*pair) for pair in pairs) / len(pairs)
    longest = max(neighbour_distance(e) for e in elements)
    wanted = max(_SHELLS * mean, 1.7 * longest)
    low, high = _CUTOFF_RANGE_A
    value = round(min(max(wanted, low), high), 1)
    return Ruled(
        value,
        f"2.5 x mean neighbour distance {mean:.2f} A, at least 1.7 x the longest {longest:.2f} A, "
        f"within {low:g} to {high:g} A",
    )


def functions_per_element(elements: Sequence[str]) -> Ruled[int]:
    """Return the number of ACE functions of each element."""
    number = {1: 250, 2: 400}.get(len(elements), 600)
    return Ruled(
        number, f"{len(elements)} element(s): more neighbours to tell apart take more functions"
    )


def label_atoms(code: str) -> Ruled[int]:
    """Return the most atoms of a generated cell."""
    if code not in _CHEAP:
        return Ruled(8, "DFT grows with the cube of the number of electrons: small cells")
    return Ruled(32, f"labels by {_maker(code)} are cheap: larger cells")


def md_atoms(code: str) -> Ruled[int]:
    """Return the smallest number of atoms of the MD cell; a halted frame is labelled whole."""
    if code not in _CHEAP:
        return Ruled(16, "a halted frame is labelled whole by DFT: a small cell")
    return Ruled(64, f"a halted frame is labelled whole, but {_maker(code)} is cheap")


def failure_atoms(code: str) -> Ruled[int]:
    """Return the most atoms of a structure that a failed check asks a label for."""
    if code not in _CHEAP:
        return Ruled(16, "structures of a failed check are labelled whole by DFT")
    return Ruled(64, f"structures of a failed check are labelled whole, by {_maker(code)}")


def _maker(code: str) -> str:
    return "an ASE calculator" if code == "ase" else "a model of rootstock"


def test_window(temperatures_K: Sequence[float]) -> Ruled[float]:
    """Return the energy (eV/atom) up to which test structures are judged."""
    hottest = max(temperatures_K)
    return Ruled(
        round(max(0.1, 3 * units.kB * hottest), 3),
        f"3 k_B T at {hottest:g} K, twice the mean thermal energy: what the potential will meet",
    )


def labels(elements: Sequence[str], code: str) -> Ruled[int]:
    """Return the budget of labels."""
    value = min(150 * len(elements) * (2 if code in _CHEAP else 1), 1000)
    return Ruled(value, f"{len(elements)} element(s) labelled by {code}; at most 1000")


def initial_labels(elements: Sequence[str]) -> Ruled[int]:
    """Return the number of labels of the cold start.

    The budget has no say: it may be raised when a campaign is resumed.
    """
    return Ruled(
        40 + 20 * (len(elements) - 1), "40, and 20 more for each further element to tell apart"
    )


def labels_per_iteration(elements: Sequence[str]) -> Ruled[int]:
    """Return the most labels of a later iteration."""
    return Ruled(
        8 + 2 * len(elements), "8, and 2 for each element: some for each of a cycle's halts"
    )


def workers() -> Ruled[int]:
    """Return the number of CPU cores this process may use."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return Ruled(cores, "one label on each CPU core of this machine")
