"""Labels written in the formats that other programs read.

What each keeps: ASE's database every double exactly; extended XYZ rounds positions and forces
to 1e-8 (angstrom, eV/angstrom), which is the resolution of a label's key; pacemaker's table
keeps structure, energy, forces and stress. All three carry the label's key; the first two also
settings, provenance and record, so that `pyacemaker data import --restore` brings a label back
under its own key.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.data.listing import DataError
from pyacemaker.files import write_whole
from pyacemaker.oracle.base import Label
from pyacemaker.parts.environments import EnvironmentSpec, environment
from pyacemaker.process import run_program
from pyacemaker.provenance import KEY as PROVENANCE

Say = Callable[[str], None]
Keyed = Iterable[tuple[str, Label]]

LABEL_KEY, SETTINGS, META = "label_key", "label_settings", "label_meta"
FORMATS = ("extxyz", "db", "pacemaker")
_PICKLE_LIMIT_S = 1800.0
_TABLE_SCRIPT = Path(__file__).with_name("pacemaker_table.py")

# pandas writes a pickle that only a like version reads; this is the one that pacemaker's
# tensorpot backend runs with.
PACEMAKER_TABLE = EnvironmentSpec(
    name="pacemaker-table",
    pins=("numpy==2.2.6", "pandas==2.3.3", "ase==3.29.0"),
    constraints=(
        "scipy==1.17.1",
        "matplotlib==3.11.2",
        "python-dateutil==4.0.0",
        "pytz==2026.6",
        "tzdata==2026.6",
        "six==1.17.0",
    ),
    smoke_test="import pandas, numpy, ase\n",
    size_MB=350,
)


def format_of(path: Path) -> str:
    """Return the format that a file's name means. Raises DataError."""
    name = path.name.lower()
    if name.endswith((".xyz", ".extxyz")):
        return "extxyz"
    if name.endswith(".db"):
        return "db"
    if name.endswith((".pckl.gzip", ".pkl.gz", ".pkl.gzip", ".pckl.gz")):
        return "pacemaker"
    raise DataError(
        f"{path}: its name tells no format; end it in .extxyz, .db or .pckl.gzip, or name one of "
        f"{', '.join(FORMATS)}"
    )


def export(labels: Keyed, path: Path, form: str, say: Say = lambda _: None) -> int:
    """Write `labels` to `path`, whole, and return how many. Raises DataError, PartError."""
    writers: dict[str, Callable[[], int]] = {
        "extxyz": lambda: write_extxyz(labels, path),
        "db": lambda: write_db(labels, path),
        "pacemaker": lambda: write_pacemaker(labels, path, say),
    }
    if form not in writers:
        raise DataError(f"{form!r} is no format to export to; choose of {', '.join(FORMATS)}")
    try:
        return writers[form]()
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error})") from error


def write_extxyz(labels: Keyed, path: Path) -> int:
    """Write extended XYZ: eV, angstrom, stress in eV/angstrom^3, tension positive."""
    from ase.io.extxyz import write_extxyz as write

    stream = io.StringIO()
    count = 0
    for key, label in labels:
        write(stream, [_carrying(key, label, as_text=True)])
        count += 1
    write_whole(path, stream.getvalue())
    return count


def write_db(labels: Keyed, path: Path) -> int:
    """Write an SQLite database of ASE (``ase db FILE``); an older file of the name goes."""
    from ase.db import connect

    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        fresh = Path(folder) / "export.db"
        with connect(fresh, type="db") as database:
            for key, label in labels:
                atoms = _carrying(key, label, as_text=False)
                data = {name: atoms.info[name] for name in (LABEL_KEY, SETTINGS, META)}
                data[PROVENANCE] = atoms.info.get(PROVENANCE, {})
                pairs = {"code": str(label.settings.get("code", ""))}
                atoms.info = {}
                database.write(atoms, key_value_pairs=pairs, data=data)
                count += 1
        write_whole(path, fresh.read_bytes() if fresh.exists() else b"")
    return count


def write_pacemaker(labels: Keyed, path: Path, say: Say = lambda _: None) -> int:
    """Write pacemaker's table, a gzipped pickle of pandas 2.3, by a Python of its own.

    Columns: ase_atoms, energy (eV), forces (eV/angstrom), stress (eV/angstrom^3), label_key
    and, where isolated atoms of every element are among the labels, energy_corrected (eV, the
    energy above these atoms); without, give pacemaker's ``data: reference_energy``.

    Raises DataError where the labels have several settings, whose energies have no common
    zero, and PartError where the environment cannot be made.
    """
    found = list(labels)
    _demand_one_zero(found)
    isolated = isolated_energies(label for _, label in found)
    rows = []
    for key, label in found:
        atoms, results = label.atoms, label.atoms.calc.results
        symbols = atoms.get_chemical_symbols()
        row: dict[str, Any] = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "pbc": [bool(flag) for flag in atoms.pbc],
            "energy": float(results["energy"]),
            "forces": np.asarray(results["forces"]).tolist(),
            "label_key": key,
        }
        stress = results.get("stress")
        row["stress"] = None if stress is None else np.asarray(stress).tolist()
        if set(symbols) <= set(isolated):
            row["energy_corrected"] = row["energy"] - sum(isolated[s] for s in symbols)
        rows.append(row)
    corrected = all("energy_corrected" in row for row in rows)
    if not corrected:
        say(
            "no isolated atom of every element is among the labels: the table has no "
            "energy_corrected; give pacemaker's data: reference_energy"
        )
        for row in rows:
            row.pop("energy_corrected", None)
    python = environment(PACEMAKER_TABLE, say)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        work = Path(folder)
        (work / "labels.json").write_text(json.dumps(rows))
        ended = run_program(
            [str(python.python), str(_TABLE_SCRIPT), "labels.json", "table"],
            cwd=work,
            stdout=work / "log",
            timeout_s=_PICKLE_LIMIT_S,
            env=python.variables(),
        )
        if ended.returncode != 0:
            last = (work / "log").read_text(errors="replace").strip().splitlines()[-1:]
            raise DataError(f"pacemaker's table was not written ({ended.describe()}): {last}")
        write_whole(path, (work / "table").read_bytes())
    return len(rows)


def isolated_energies(labels: Iterable[Label]) -> dict[str, float]:
    """Return the energies (eV) of the isolated atoms among `labels`, by their element."""
    found = {}
    for label in labels:
        atoms = label.atoms
        if len(atoms) == 1 and (not atoms.pbc.any() or atoms.get_volume() > 500.0):
            found[atoms.get_chemical_symbols()[0]] = float(atoms.calc.results["energy"])
    return found


def _demand_one_zero(found: list[tuple[str, Label]]) -> None:
    kinds: dict[str, str] = {}
    for key, label in found:
        named = {
            name: label.settings.get(name)
            for name in ("code", "functional", "calculator", "name", "ecutwfc_Ry", "encut_eV")
        }
        kinds.setdefault(json.dumps(named, sort_keys=True, default=str), key)
    if len(kinds) > 1:
        first, second, *_ = kinds
        raise DataError(
            f"the labels have {len(kinds)} different settings, and their energies no common zero "
            f"({first} and {second}); choose one with --setting"
        )


def _carrying(key: str, label: Label, *, as_text: bool) -> Atoms:
    """Return the structure with its results, its key and what it was made with."""
    atoms: Atoms = label.atoms.copy()
    results = {
        name: label.atoms.calc.results[name]
        for name in ("energy", "free_energy", "forces", "stress", "magmom")
        if label.atoms.calc.results.get(name) is not None
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    carried: Mapping[str, Any] = {
        SETTINGS: dict(label.settings),
        META: dict(label.meta),
        PROVENANCE: label.atoms.info.get(PROVENANCE, {}),
    }
    atoms.info = {
        LABEL_KEY: key,
        **{name: json.dumps(v) if as_text else v for name, v in carried.items()},
    }
    return atoms
