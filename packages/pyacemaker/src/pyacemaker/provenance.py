"""Where a structure came from, carried by the structure itself.

Every structure of a campaign has ``atoms.info["provenance"]``: a dictionary of
plain JSON values with at least ``generator`` (what made it) and ``group`` (the
family it belongs to). Structures of one group are near neighbours of each other
(frames of one trajectory, candidates round one halt) and therefore always land on
the same side of a train/test split.
"""

from __future__ import annotations

from typing import Any

from ase import Atoms

KEY = "provenance"


def tag(atoms: Atoms, generator: str, group: str, **details: Any) -> Atoms:
    """Write the provenance of `atoms` in place and return it.

    `details` are further plain JSON values (a temperature in K, a strain, a seed).
    """
    atoms.info[KEY] = {"generator": generator, "group": group, **details}
    return atoms


def provenance_of(atoms: Atoms) -> dict[str, Any]:
    """Return the provenance of `atoms`; raises KeyError if it was never tagged."""
    found = atoms.info[KEY]
    if not isinstance(found, dict):
        raise TypeError(f"atoms.info['{KEY}'] is {type(found).__name__}, not a dictionary")
    return found


def group_of(atoms: Atoms) -> str:
    """Return the split group of `atoms`."""
    return str(provenance_of(atoms)["group"])
