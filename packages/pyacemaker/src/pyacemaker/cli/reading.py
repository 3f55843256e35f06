"""Structures from a file that a command line names, or one line that says why there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms


class UnreadableError(ValueError):
    """The file holds no structure that ASE reads; the message names it."""


def read_structures(path: Path) -> list[Atoms]:
    """Return every structure of a file, in any format that ASE reads. Raises UnreadableError.

    Folders are refused: ASE's own format for them may hold pickles.
    """
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise UnreadableError(f"{path} cannot be read: {what}")
    try:
        return list(read(path, index=":"))
    except UnknownFileTypeError:
        words = "ASE does not know its format; a .cif, .vasp, .xyz or .traj, for example, it does"
    except Exception as error:  # ASE raises whatever a format's reader does
        words = " ".join(str(error).split()) or type(error).__name__
    raise UnreadableError(f"{path} cannot be read: {words}")


def read_structure(path: Path) -> Atoms:
    """Return the one structure of a file, or the last of several. Raises UnreadableError."""
    found = read_structures(path)
    if not found:
        raise UnreadableError(f"{path} cannot be read: it holds no structure")
    return found[-1]
