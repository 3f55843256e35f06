"""The structures of the first cycle, made without any model.

Default mix, of about 110: the equation of state of the reference (9), distortions of the
reference, half in its primitive cell and half in the largest allowed supercell (45 %),
other prototypes over wide volume scans (20 %), random symmetric crystals (10 %), and for
the rest pairs at short range, point defects and surfaces. A 2-atom cell costs a plane-wave
code a tenth of an 8-atom one, and strains of it carry the elastic constants: both are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from pyacemaker.generator.base import (
    GeneratorError,
    checked_elements,
    child,
)
from pyacemaker.generator.contact import (
    SHORT_CONTACT,
    allowed_contact,
    bare,
    closest_contact,
    is_sound,
    right_handed,
    volume_per_atom,
)
from pyacemaker.generator.crystals import prototype
from pyacemaker.generator.decorate import random_alloy, random_counts
from pyacemaker.generator.defects import antisites, interstitials, surfaces, vacancies
from pyacemaker.generator.distort import INDEPENDENT_SIGMA_A, distorted, strained
from pyacemaker.generator.pairs import dimers, pressed_pairs
from pyacemaker.generator.prototypes import EOS_FACTORS, prototype_scans, volume_scan
from pyacemaker.generator.random_crystal import random_crystals
from pyacemaker.generator.reference import reference_structure
from pyacemaker.generator.supercells import supercell
from pyacemaker.generator.volumes import is_metal
from pyacemaker.provenance import KEY

RATTLE_OF_BOND = (0.02, 0.045, 0.085, 0.14)
"""Gaussian sigmas over the nearest distance; Lindemann's melting criterion is about 0.1."""

SMOOTH_GROUP = "reference-homogeneous"
"""One split group for every homogeneous deformation of the perfect reference."""

MOST_RANDOM_ATOMS = 12
"""Random crystals beyond this cost seconds each to find."""

STRAIN_AMPLITUDES = (0.02, 0.05, 0.09)
PRESSED_RATIOS = (0.9, 0.8, 0.72, 0.66)


def cold_start(
    elements: Sequence[str],
    reference: Atoms | None,
    max_atoms: int,
    rng: np.random.Generator,
    *,
    count: int = 110,
    box_cost_limit_A3: float | None = None,
    phases: Sequence[Atoms] = (),
) -> list[Atoms]:
    """Return about `count` tagged structures to begin a campaign with.

    Parameters
    ----------
    elements
        Chemical symbols; every element and every pair of them is met.
    reference
        The material's ground state (a cell of at most `max_atoms` atoms), or None to have
        it guessed by `reference_structure`.
    max_atoms
        Largest number of atoms of any structure.
    rng
        The only source of randomness; the same state gives the same list to the last bit.
    count
        Aim for the number of structures. The equation of state (9) is always whole, and a
        small `max_atoms` or `box_cost_limit_A3` makes fewer; many elements make more.
    box_cost_limit_A3
        Largest cell of structures with vacuum (dimers, slabs), in angstrom^3; by default
        900, or three times the volume of `max_atoms` atoms where that is more.
    phases
        Other stable crystals of the elements (or of some of them), each of at most `max_atoms`
        atoms: their equations of state, strains and distortions come on top of `count`.

    Returns
    -------
    list of Atoms
        Periodic in all directions, right-handed, no atoms closer than
        `contact.ORDINARY_CONTACT` but for the pairs that are meant to be
        (`contact.shortest_distance`). The perfect reference is in the equation of state.

    Raises
    ------
    GeneratorError
        For unknown elements, a reference larger than `max_atoms` or of other elements, a
        `count` below 1.
    """
    symbols = checked_elements(elements)
    if count < 1:
        raise GeneratorError("count must be at least 1")
    perfect = _checked_reference(symbols, reference, max_atoms)
    limit = box_cost_limit_A3 or max(900.0, 3.0 * max_atoms * volume_per_atom(perfect))
    # one stream for each part, drawn before any is used
    streams = {name: child(rng) for name in ("distort", "random", "alloy", "pairs", "defects")}
    in_prototypes = max(round(0.2 * count), 3)
    others = prototype_scans(symbols, max_atoms, perfect, most=max(in_prototypes // 2, 3))
    structures = [
        *volume_scan(perfect, EOS_FACTORS, SMOOTH_GROUP, "eos"),
        *_elastic_strains(perfect),
        *_reference_distortions(perfect, max_atoms, round(0.45 * count), streams["distort"]),
        *_shared(others, in_prototypes),
        *_random(symbols, perfect, max_atoms, max(round(0.1 * count), 1), streams["random"]),
        *_alloys(symbols, max_atoms, round(0.08 * count), streams["alloy"]),
        *_pairs(symbols, perfect, max_atoms, count, limit, streams["pairs"]),
        *_defects(perfect, max_atoms, count, limit, streams["defects"]),
    ]
    for number, phase in enumerate(phases, start=1):
        structures += _of_phase(phase, f"phase{number}", max_atoms, count, child(rng))
    return [a for a in structures if is_sound(a, _floor(a, perfect), max_atoms)]


def _of_phase(
    phase: Atoms, name: str, max_atoms: int, count: int, rng: np.random.Generator
) -> list[Atoms]:
    """Return what another stable phase needs: equation of state, strains, distortions."""
    perfect = _checked_reference(tuple(set(phase.get_chemical_symbols())), phase, max_atoms)
    smooth = f"{name}-homogeneous"
    distortions = _reference_distortions(perfect, max_atoms, max(round(0.15 * count), 4), rng, name)
    return [
        *volume_scan(perfect, EOS_FACTORS[1::2], smooth, "eos"),
        *_elastic_strains(perfect, smooth),
        *distortions,
    ]


def _checked_reference(symbols: tuple[str, ...], reference: Atoms | None, max_atoms: int) -> Atoms:
    if reference is None:
        return bare(reference_structure(symbols, max_atoms=max_atoms))
    if len(reference) > max_atoms:
        raise GeneratorError(
            f"the reference has {len(reference)} atoms, more than max_atoms = {max_atoms}: "
            "raise max_atoms or give its primitive cell"
        )
    foreign = set(reference.get_chemical_symbols()) - set(symbols)
    if foreign:
        raise GeneratorError(
            f"the reference holds {', '.join(sorted(foreign))}, which is not among the elements"
        )
    if len(reference) == 0 or reference.cell.rank < 3:
        raise GeneratorError("the reference needs atoms and three lattice vectors")
    perfect = bare(reference)
    perfect.pbc = True
    if closest_contact(perfect) < 0.5:
        raise GeneratorError("the reference has overlapping atoms: check its cell and positions")
    return right_handed(perfect)


def _floor(atoms: Atoms, perfect: Atoms) -> float:
    """Contact below which a structure is dropped: a last look, generators have their own."""
    generator = atoms.info[KEY]["generator"]
    if generator in {"dimer", "pressed_pair"}:
        return 0.99 * SHORT_CONTACT
    floor = allowed_contact(perfect)
    # a tight reference is tighter still at the small end of its own scan
    return (0.95 if generator in {"eos", "elastic"} else 1 - 1e-9) * floor


def _elastic_strains(perfect: Atoms, group: str = SMOOTH_GROUP) -> list[Atoms]:
    """Six pure strains of +-1.5 % of the perfect cell: what elastic constants are made of."""
    made = []
    for component in range(6):
        size = 0.015 if component % 2 == 0 else -0.015
        strain = np.zeros((3, 3))
        i, j = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[component]
        strain[i, j] = strain[j, i] = size
        made.append(strained(perfect, strain, group, "elastic"))
    return made


def _bond(atoms: Atoms) -> float:
    """Nearest distance in angstrom, images included."""
    reach = 1.3 * volume_per_atom(atoms) ** (1 / 3)  # close packing: 1.12
    for _ in range(6):
        found = neighbor_list("d", atoms, reach)
        if len(found):
            return float(found.min())
        reach *= 1.5
    raise GeneratorError("the reference has no two atoms near each other: check its cell")


def _reference_distortions(
    perfect: Atoms, max_atoms: int, count: int, rng: np.random.Generator, name: str = ""
) -> list[Atoms]:
    prefix = f"distorted-{name}-" if name else "distorted-"
    sigmas = [max(part * _bond(perfect), INDEPENDENT_SIGMA_A) for part in RATTLE_OF_BOND]
    large = supercell(perfect, max_atoms)
    middle = supercell(perfect, max(max_atoms // 2, len(perfect)))
    made = []
    shares = {"cell": (perfect, 0.35), "half": (middle, 0.2), "supercell": (large, 0.45)}
    if len(large) == len(perfect):
        shares = {"cell": (perfect, 1.0)}
    elif len(middle) in (len(perfect), len(large)):
        shares = {"cell": (perfect, 0.4), "supercell": (large, 0.6)}
    if len(perfect) == 1 and len(large) > 1:
        # a cell of one atom can only be strained: few of those, and no displacements
        shares = {"cell": (perfect, 0.2), "half": (middle, 0.2), "supercell": (large, 0.6)}
        if len(middle) == 1:
            shares = {"cell": (perfect, 0.2), "supercell": (large, 0.8)}
    for size, (parent, share) in shares.items():
        amplitudes = STRAIN_AMPLITUDES if size != "supercell" else (0.0, *STRAIN_AMPLITUDES[:2])
        made += distorted(
            parent, rng, count=round(share * count), sigmas_A=sigmas,
            strain_amplitudes=amplitudes, prefix=f"{prefix}{size}",
        )  # fmt: skip
    return made


def _shared(scans: Sequence[Sequence[Atoms]], count: int) -> list[Atoms]:
    """About `count` structures from all scans.

    Of a thinned scan the middle comes first, then its ends.
    """
    if not scans:
        return []
    each = int(np.clip(round(count / len(scans)), 1, 5))
    places = {1: (2,), 2: (1, 3), 3: (0, 2, 4), 4: (0, 1, 2, 4), 5: (0, 1, 2, 3, 4)}[each]
    return [scan[place] for scan in scans for place in places]


def _random(
    symbols: tuple[str, ...],
    perfect: Atoms,
    max_atoms: int,
    count: int,
    rng: np.random.Generator,
) -> list[Atoms]:
    """Random crystals: of the reference's composition and of others, several sizes."""
    most = min(max_atoms, MOST_RANDOM_ATOMS)
    made: list[Atoms] = []
    for number in range(count):
        own = child(rng)
        if most < len(symbols):
            break
        if len(symbols) == 1:
            composition = {symbols[0]: int(own.integers(min(2, most), most + 1))}
        elif number % 2 == 0 and len(perfect) <= most:
            formulas = int(own.integers(1, most // len(perfect) + 1))
            composition = {s: n * formulas for s, n in perfect.symbols.formula.count().items()}
        else:
            total = int(own.integers(len(symbols), most + 1))
            composition = random_counts(symbols, total, own)
        made += random_crystals(composition, 1, own, prefix=f"random-{number:03d}", max_attempts=8)
    return made


def _alloys(
    symbols: tuple[str, ...], max_atoms: int, count: int, rng: np.random.Generator
) -> list[Atoms]:
    """Metals mixed at random on fcc and bcc lattices; none for a single element."""
    metals = tuple(s for s in symbols if is_metal(s))
    if len(metals) < 2 or max_atoms < len(metals):
        return []
    made: list[Atoms] = []
    for number in range(count):
        own = child(rng)
        total = int(own.integers(max(len(metals), min(max_atoms, 4)), min(max_atoms, 32) + 1))
        kind = prototype("fcc" if number % 2 == 0 else "bcc")
        cell = random_alloy(kind, random_counts(metals, total, own), own)
        made += distorted(
            cell, own, count=1, sigmas_A=(0.08,), strain_amplitudes=(0.04,),
            prefix=f"alloy-{kind.name}-{number:03d}",
        )  # fmt: skip
        made[-1].info[KEY].update(generator="random_alloy", lattice=kind.name)
    return made


def _pairs(
    symbols: tuple[str, ...],
    perfect: Atoms,
    max_atoms: int,
    count: int,
    limit: float,
    rng: np.random.Generator,
) -> list[Atoms]:
    kinds = len(symbols) * (len(symbols) + 1) // 2
    each = int(np.clip(round(0.08 * count / kinds), 3, 12))
    made: list[Atoms] = []
    if max_atoms >= 2:
        for family in dimers(symbols, each, box_cost_limit_A3=limit):
            made += family
    host = supercell(perfect, max_atoms)
    made += pressed_pairs(host, PRESSED_RATIOS if kinds <= 3 else PRESSED_RATIOS[1::2], rng)
    return made


def _defects(
    perfect: Atoms, max_atoms: int, count: int, limit: float, rng: np.random.Generator
) -> list[Atoms]:
    streams = [child(rng) for _ in range(4)]
    each = max(1, round(0.03 * count / max(1, len(set(perfect.numbers)))))
    metal_or_element = vacancies(perfect, max_atoms, streams[0], per_site=min(each, 4))
    return [
        *metal_or_element[: max(2, round(0.06 * count))],
        *interstitials(perfect, max_atoms, streams[1]),
        *antisites(perfect, max_atoms, streams[2]),
        *surfaces(
            perfect,
            max_atoms,
            streams[3],
            box_cost_limit_A3=limit,
            per_surface=max(1, round(0.02 * count)),
        ),
    ]
