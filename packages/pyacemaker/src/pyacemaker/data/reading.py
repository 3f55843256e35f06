"""Labelled structures read from a file of somebody else, in our units and signs.

Formats: extended XYZ, ASE's database, VASP's vasprun.xml and OUTCAR, and whatever else ASE
reads. Never a pickle: reading one runs whatever code its author put in.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io.formats import UnknownFileTypeError
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from pyacemaker.data.exchange import LABEL_KEY, META, SETTINGS
from pyacemaker.data.listing import DataError
from pyacemaker.provenance import KEY as PROVENANCE

StressUnit = Literal["eV/A^3", "GPa", "kbar"]
_UNITS: Mapping[str, float] = {"eV/A^3": 1.0, "GPa": GPa, "kbar": 0.1 * GPa}
_PICKLES = (".pckl", ".pkl", ".pickle", ".pckl.gzip", ".pkl.gz", ".pkl.gzip", ".pckl.gz", ".p")
_PICKLE_HEAD = b"\x80"  # opcode PROTO, first byte of every pickle since protocol 2


@dataclass(frozen=True)
class Convention:
    """How to read a file: names of the values, and what the stress means.

    By default as ASE does: `energy`, `forces` and `stress` in eV and angstrom, tension
    positive; a `virial` (eV, -V stress) is taken where there is no stress. `pressure_sign`
    says that compression is positive instead.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    stress_unit: StressUnit = "eV/A^3"
    pressure_sign: bool = False


@dataclass(frozen=True)
class Read:
    """A structure of a file: its place in it (from 1), and the label or why it is none."""

    place: int
    atoms: Atoms | None
    problem: str = ""


def read_labelled(path: Path, convention: Convention) -> Iterator[Read]:
    """Yield every structure of `path` with energy (eV), forces and stress in our conventions.

    Raises DataError for a file that cannot be read, and for every pickle.
    """
    _refuse_pickle(path)
    frames = _from_db(path) if path.suffix.lower() == ".db" else _from_ase(path)
    for place, frame in enumerate(frames, start=1):
        try:
            yield Read(place, labelled(frame, convention))
        except DataError as error:
            yield Read(place, None, str(error))


def labelled(frame: Atoms, convention: Convention) -> Atoms:
    """Return `frame` with its results under our names, units and signs. Raises DataError."""
    results = dict(frame.calc.results) if frame.calc is not None else {}
    natoms = len(frame)
    if natoms == 0:
        raise DataError("it has no atoms")
    if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()):
        raise DataError("a position or the cell is not finite")
    energy = _value(frame, results, convention.energy_key, ("free_energy", "energy"))
    if energy is None:
        raise DataError("it has no energy; name its key with --energy-key")
    forces = _value(frame, results, convention.forces_key, ("forces",))
    if forces is None or np.shape(forces) != (natoms, 3):
        raise DataError("it has no forces; name their key with --forces-key")
    stress = _stress(frame, results, convention)
    found: dict[str, Any] = {"energy": float(energy), "forces": np.asarray(forces, dtype=float)}
    if stress is not None:
        found["stress"] = stress
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise DataError(f"its {name} is not finite")
    atoms = Atoms(
        numbers=frame.numbers, positions=frame.positions, cell=frame.cell.array, pbc=frame.pbc
    )
    for name in ("initial_magmoms", "initial_charges"):
        if frame.has(name):
            atoms.set_array(name, frame.arrays[name])
    kept = (LABEL_KEY, SETTINGS, META, PROVENANCE, "config_type")
    atoms.info = {name: frame.info[name] for name in kept if name in frame.info}
    atoms.calc = SinglePointCalculator(atoms, free_energy=found["energy"], **found)
    return atoms


def _value(
    frame: Atoms, results: Mapping[str, Any], named: str | None, usual: tuple[str, ...]
) -> Any:
    if named is not None:
        return frame.info.get(named, frame.arrays.get(named, results.get(named)))
    return next((results[name] for name in usual if results.get(name) is not None), None)


def _stress(
    frame: Atoms, results: Mapping[str, Any], convention: Convention
) -> np.ndarray[Any, Any] | None:
    """Return the stress (6, eV/angstrom^3, tension positive), or None without one."""
    if frame.cell.rank < 3 or not frame.pbc.any():
        return None
    stress = None
    if convention.virial_key is None:
        stress = _value(frame, results, convention.stress_key, ("stress",))
    if stress is not None:
        sign = -1.0 if convention.pressure_sign else 1.0
        factor: float = sign * _UNITS[convention.stress_unit]
        return factor * _voigt(stress, "stress")
    if convention.stress_key is None:
        virial = _value(frame, results, convention.virial_key or "virial", ())
        if virial is not None:
            volume = float(frame.get_volume())
            return -_voigt(virial, "virial") / volume
    return None


def _voigt(value: Any, what: str) -> np.ndarray[Any, Any]:
    array = np.asarray(value, dtype=float)
    if array.shape == (9,):
        array = array.reshape(3, 3)
    if array.shape == (3, 3):
        if not np.allclose(array, array.T, atol=1e-3 * max(1e-3, float(np.abs(array).max()))):
            raise DataError(f"its {what} is not symmetric")
        return np.array(full_3x3_to_voigt_6_stress(0.5 * (array + array.T)))
    if array.shape != (6,):
        raise DataError(f"its {what} has the shape {array.shape}, neither 6 nor 3 x 3")
    return array


def _refuse_pickle(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            head = stream.read(2)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    named = path.name.lower().endswith(_PICKLES)
    if named or head[:1] == _PICKLE_HEAD:
        raise DataError(
            f"{path} is a pickle, which runs its author's code when it is read: it is never "
            "imported. Where you trust it, turn it into extended XYZ yourself, in pandas: "
            "ase.io.write('data.extxyz', ...) with energy and forces"
        )


def _from_ase(path: Path) -> Iterator[Atoms]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            form = "extxyz" if path.suffix.lower() in {".xyz", ".extxyz"} else None
            yield from ase.io.iread(path, index=":", format=form)
    except UnknownFileTypeError:
        raise DataError(
            f"{path}: ASE does not know its format; extended XYZ, an ASE .db, vasprun.xml and "
            "OUTCAR are read"
        ) from None
    except Exception as error:  # ASE's readers raise whatever they stumble over
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read to its end ({lines[0][:200]})") from error


def _from_db(path: Path) -> Iterator[Atoms]:
    try:
        with connect(path, type="db") as database:
            for row in database.select():
                atoms = row.toatoms()
                atoms.info = {**row.data, **row.key_value_pairs}
                yield atoms
    except Exception as error:  # sqlite3's, ASE's, of the row's own content
        raise DataError(f"{path} cannot be read as an ASE database ({error})") from error
