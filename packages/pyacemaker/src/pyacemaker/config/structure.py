"""The material's reference cell: from a file, a prototype's name or a formula, or the elements."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.config.nearest import nearest
from pyacemaker.config.physics import Ruled
from pyacemaker.config.settings import StructureSettings
from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.crystals import COMPOUND, ELEMENTAL
from pyacemaker.provenance import provenance_of, tag

PROTOTYPES: tuple[str, ...] = tuple(kind.name for kind in (*ELEMENTAL, *COMPOUND))
_MAX_ATOMS = 200
_TOO_CLOSE_A = 0.5


def resolve_structure(
    text: str | None, elements: Sequence[str], base_dir: Path, max_atoms: int
) -> Ruled[StructureSettings]:
    """Return the reference cell that `text` names, or the ground state expected of the elements.

    `text` is a file (relative to `base_dir`) if one of that name exists, otherwise a
    prototype, a formula, or both (``rutile TiO2``). `max_atoms` bounds what is chosen
    here, not what the user names. Raises ValueError with the remedy.
    """
    from pyacemaker.generator.reference import reference_structure

    if text is None:
        return _suggested(elements, max_atoms)
    name = text.strip()
    path = base_dir / Path(name).expanduser()
    if path.is_file():
        return _from_file(path, name, elements)
    try:
        atoms = reference_structure(elements, name)
    except GeneratorError as error:
        raise ValueError(_refusal(name, path, base_dir, str(error))) from None
    return Ruled(StructureSettings.of(atoms, "prototype", name), _describe(atoms))


def _suggested(elements: Sequence[str], max_atoms: int) -> Ruled[StructureSettings]:
    from pyacemaker.generator.reference import reference_structure

    try:
        atoms = reference_structure(elements, max_atoms=max_atoms)
    except GeneratorError:  # no crystal of all these elements is that small
        try:
            atoms = reference_structure(elements)
        except GeneratorError as error:
            raise ValueError(f"{error}; name a structure file") from None
    name = f"{provenance_of(atoms)['prototype']} {_formula(atoms)}"
    return Ruled(StructureSettings.of(atoms, "reference", name), _describe(atoms))


def _formula(atoms: Atoms) -> str:
    """Return the smallest formula, metals first: TiO2."""
    return str(atoms.symbols.formula.reduce()[0].convert("metal"))


def _describe(atoms: Atoms) -> str:
    found = provenance_of(atoms)
    how = {"measured": "measured lattice", "estimated": "lattice estimated from atomic radii"}
    words = how.get(str(found["source"]), str(found["source"]))
    note = "; a stand-in, name the true ground state if you know it" if found["stand_in"] else ""
    formula = _formula(atoms)
    return f"{found['prototype']} {formula}, {len(atoms)} atoms, {words}{note}"


def _refusal(name: str, path: Path, base_dir: Path, reason: str) -> str:
    if path.is_dir():
        return f"{name!r} is a folder; name a structure file in it"
    if re.search(r"\.\w{1,8}$|/", name) or name.upper() in {"POSCAR", "CONTCAR"}:
        return f"there is no file {name!r} in {base_dir}"
    if "no prototype" in reason:
        meant = nearest(name, PROTOTYPES)
        hint = f"did you mean '{meant}'?" if meant else f"prototypes: {', '.join(PROTOTYPES)}"
        return f"{name!r} is no file in {base_dir}, no prototype and no formula; {hint}"
    return " ".join(reason.split())


def _from_file(path: Path, name: str, elements: Sequence[str]) -> Ruled[StructureSettings]:
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError
    from ase.neighborlist import neighbor_list

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = read(path)
    except UnknownFileTypeError:
        raise ValueError(
            f"ASE does not know the format of {name!r}; use .cif, .xyz or POSCAR"
        ) from None
    except Exception as error:  # ASE's readers raise whatever they stumble over
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise ValueError(f"ASE cannot read {name!r} ({reason})") from None
    atoms: Atoms = found
    if len(atoms) == 0:
        raise ValueError(f"{name!r} holds no atoms")
    if len(atoms) > _MAX_ATOMS:
        raise ValueError(
            f"{name!r} has {len(atoms)} atoms; a reference cell has at most {_MAX_ATOMS}"
        )
    others = sorted(set(atoms.get_chemical_symbols()) - set(elements))
    if others:
        raise ValueError(f"{name!r} holds {', '.join(others)}, which 'elements' does not list")
    if atoms.cell.rank < 3 or not atoms.pbc.all():
        raise ValueError(f"{name!r} is not a crystal; it needs three lattice vectors, periodic")
    if not np.isfinite(atoms.get_positions()).all() or atoms.get_volume() / len(atoms) < 1.0:
        raise ValueError(f"{name!r} has no sensible cell or positions")
    short = neighbor_list("d", atoms, _TOO_CLOSE_A)
    if len(short):
        raise ValueError(f"{name!r} has atoms only {min(short):.2f} angstrom apart")
    missing = [e for e in elements if e not in atoms.get_chemical_symbols()]
    note = f"; no {', '.join(missing)} in it" if missing else ""
    formula = _formula(atoms)
    tag(atoms, "reference", f"reference-{path.stem}-{formula}", source="file", file=name)
    return Ruled(StructureSettings.of(atoms, "file", name), f"{formula}, {len(atoms)} atoms{note}")
