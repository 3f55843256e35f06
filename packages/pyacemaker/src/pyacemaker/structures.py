"""Structures on disk, exactly: what is read back is bit for bit what was written.

Extended XYZ rounds to eight decimals, which would change the key of a label, so the
campaign keeps its own structures as JSON (ASE's encoding, shortest round-trip floats).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from pyacemaker.files import write_whole


class CorruptFileError(RuntimeError):
    """A file of the campaign is not what was written; the message names it and the remedy."""


def write_structures(path: Path, structures: Sequence[Atoms]) -> str:
    """Write positions, cells, arrays and info (no calculators) and return the file's SHA-256."""
    from ase.io import jsonio

    text = jsonio.encode([_plain(atoms) for atoms in structures])
    write_whole(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def read_structures(path: Path, sha256: str | None = None) -> list[Atoms]:
    """Read what `write_structures` wrote.

    Raises CorruptFileError if the file is missing, is not JSON of structures, or differs
    from `sha256` where that is given.
    """
    from ase.io import jsonio

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({error.strerror})") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptFileError(
            f"{path}: its checksum is not the recorded one; the file was changed or damaged. "
            "Restore it from a copy, or start in a new work directory (finished labels can be "
            "taken along by copying the folder 'labels')"
        )
    try:
        found = jsonio.decode(data.decode(), always_array=False)
    except (ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CorruptFileError(f"{path}: not a list of structures ({error})") from error
    if not isinstance(found, list) or not all(isinstance(atoms, Atoms) for atoms in found):
        raise CorruptFileError(f"{path}: not a list of structures")
    return found


def _plain(atoms: Atoms) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = None
    return copy
