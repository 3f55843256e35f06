"""Structures in the format of materialsvirtuallab/mlearn (Zuo et al., 2020)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator


def read(path: Path, element: str) -> list[Atoms]:
    """Return the labelled structures (eV, eV/angstrom) of a file, with `info["group"]`.

    Raises SystemExit naming the file where it is not of that format or of another element.
    """
    try:
        records = json.loads(path.read_text())
        structures = []
        for record in records:
            crystal, outputs = record["structure"], record["outputs"]
            atoms = Atoms(
                [site["species"][0]["element"] for site in crystal["sites"]],
                positions=[site["xyz"] for site in crystal["sites"]],
                cell=crystal["lattice"]["matrix"],
                pbc=True,
            )
            atoms.calc = SinglePointCalculator(
                atoms, energy=float(outputs["energy"]), forces=np.array(outputs["forces"], float)
            )
            atoms.info["group"] = str(record.get("group", ""))
            structures.append(atoms)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SystemExit(f"{path}: not a file of mlearn structures: {error!r}") from None
    found = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    if found != {element}:
        raise SystemExit(f"{path} holds {', '.join(sorted(found)) or 'nothing'}, not {element}")
    return structures
