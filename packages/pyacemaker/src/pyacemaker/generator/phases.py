"""Which crystals a material of several elements may have: candidates for its stable phases.

Prototypes of compounds and of the elements themselves, at volumes estimated from atoms and
ions. Which of them are stable, the oracle says (`campaign.phases`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase import Atoms
from ase.formula import Formula

from pyacemaker.generator.base import GeneratorError, checked_elements
from pyacemaker.provenance import provenance_of, tag

if TYPE_CHECKING:
    from pyacemaker.generator.crystals import Prototype
    from pyacemaker.generator.prototypes import PrototypeChoice

_OF_METALS = ("fcc", "bcc", "hcp")


@dataclass(frozen=True)
class Candidate:
    """A crystal that may be a stable phase.

    `name` is a prototype and a formula (``l1_2 Cu3Au``); `measured` is true where nature is
    known to choose it.
    """

    name: str
    atoms: Atoms
    measured: bool

    @property
    def formula(self) -> str:
        """Smallest formula, the same for every crystal of one composition."""
        return formula_of(self.atoms.get_chemical_symbols())


def formula_of(symbols: Sequence[str]) -> str:
    """Return the smallest formula of these atoms, metals first: ``TiO2``."""
    return str(Formula.from_list(list(symbols)).reduce()[0].convert("metal"))


def phase_name(atoms: Atoms) -> str:
    """Return a tagged phase's name, such as ``l1_2 Cu3Au``."""
    found = provenance_of(atoms)
    formula = formula_of(atoms.get_chemical_symbols())
    return str(found.get("phase") or f"{found.get('prototype', 'crystal')} {formula}")


def candidate_phases(
    elements: Sequence[str], max_atoms: int, compositions: Sequence[str] = ()
) -> list[Candidate]:
    """Return the candidates, most likely first.

    Parameters
    ----------
    elements
        Chemical symbols, two or more.
    max_atoms
        Largest primitive cell.
    compositions
        Formulas (``Cu3Au``) of the compounds that are looked at. Without them: between metals
        every composition of a known prototype; with a nonmetal the charge-neutral formula and
        those of the measured compounds.

    Metals bring their own crystals too (the measured one, fcc, bcc and hcp): the ends of the
    hull. Nonmetals do not, for their solids are molecular, of another physics.

    Raises
    ------
    GeneratorError
        For unknown elements or a composition that is no formula of them.
    """
    from pyacemaker.generator.prototypes import known_prototypes
    from pyacemaker.generator.reference import reference_structure
    from pyacemaker.generator.volumes import is_metal

    symbols = checked_elements(elements)
    metallic = all(is_metal(symbol) for symbol in symbols)
    wanted = {_checked(formula, symbols) for formula in compositions}
    if not wanted and not metallic:
        wanted = {formula_of(reference_structure(symbols).get_chemical_symbols())}
        wanted |= {c.formula for c in _measured(symbols, max_atoms) if _holds_all(c, symbols)}
    found = _measured(symbols, max_atoms)
    found += [
        _of_choice(choice)
        for choice in known_prototypes(symbols, max_atoms)
        if choice.kind.slots > 1
    ]
    if wanted:
        found = [candidate for candidate in found if candidate.formula in wanted]
    if metallic:
        for symbol in symbols:
            found += _of_element(symbol, max_atoms)
    unique: dict[str, Candidate] = {}
    for candidate in found:
        unique.setdefault(candidate.name, candidate)
    return list(unique.values())


def _checked(formula: str, symbols: tuple[str, ...]) -> str:
    try:
        counts: Mapping[str, int] = Formula(formula, strict=True).count()
    except ValueError:
        raise GeneratorError(f"'{formula}' is no formula: write one such as Cu3Au") from None
    if foreign := set(counts) - set(symbols):
        raise GeneratorError(
            f"{formula} holds {', '.join(sorted(foreign))}, which is not among the elements"
        )
    return formula_of([symbol for symbol, count in counts.items() for _ in range(count)])


def _holds_all(candidate: Candidate, symbols: tuple[str, ...]) -> bool:
    return set(candidate.atoms.get_chemical_symbols()) == set(symbols)


def _made(kind: Prototype, atoms: Atoms, *, measured: bool) -> Candidate:
    from pyacemaker.generator.contact import bare

    cell = bare(atoms)
    name = f"{kind.name} {formula_of(cell.get_chemical_symbols())}"
    tag(cell, "phase", f"phase-{name.replace(' ', '-')}", prototype=kind.name, phase=name)
    return Candidate(name, cell, measured)


def _measured(symbols: tuple[str, ...], max_atoms: int) -> list[Candidate]:
    from pyacemaker.generator.crystals import prototype
    from pyacemaker.generator.known import COMPOUNDS
    from pyacemaker.generator.reference import from_measured

    return [
        _made(prototype(crystal.kind), from_measured(crystal), measured=not crystal.stand_in)
        for crystal in COMPOUNDS
        if set(crystal.elements) <= set(symbols) and prototype(crystal.kind).atoms <= max_atoms
    ]


def _of_choice(choice: PrototypeChoice) -> Candidate:
    from pyacemaker.generator.contact import roomy

    return _made(choice.kind, roomy(choice.structure()), measured=False)


def _of_element(symbol: str, max_atoms: int) -> list[Candidate]:
    from pyacemaker.generator.crystals import prototype
    from pyacemaker.generator.prototypes import PrototypeChoice
    from pyacemaker.generator.reference import reference_structure

    ground = reference_structure([symbol], max_atoms=max_atoms)
    known = provenance_of(ground)
    likely = not known["stand_in"] and known["source"] == "measured"
    found = [_made(prototype(str(known["prototype"])), ground, measured=likely)]
    found += [
        _of_choice(PrototypeChoice(prototype(name), (symbol,)))
        for name in _OF_METALS
        if prototype(name).atoms <= max_atoms
    ]
    return found
