"""One label as one file: what names it, what is in it, and how it is verified.

Plain JSON, in which Python writes the shortest decimal that reads back as the same
double: energies, forces and positions return bit for bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker import provenance
from pyacemaker.oracle.base import Label, OracleError

_FORMAT = "pyacemaker label 1"
_RESOLUTION_A = 1e-8  # positions and cells that agree to this are the same structure


class CorruptLabelError(RuntimeError):
    """A file of the store does not hold what was written; the message names it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}; restore it from a copy, or delete it to have it computed again"
        )
        self.path = path
        self.why = why

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.why))


def label_key(atoms: Atoms, settings: Mapping[str, Any]) -> str:
    """Return the name of the label of `atoms` with `settings`: 64 hexadecimal digits.

    It depends on atomic numbers, positions and cell (to 1e-8 angstrom), periodicity,
    initial magnetic moments and charges (where any is not zero) and on `settings`, and on
    nothing else: neither provenance nor calculator. Raises ValueError for positions that
    are not finite and TypeError for settings that are not plain JSON values.
    """
    structure: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "positions": _on_grid(atoms.positions, "positions"),
        "cell": _on_grid(np.asarray(atoms.cell), "cell"),
        "pbc": [bool(flag) for flag in atoms.pbc],
    }
    for name in ("initial_magmoms", "initial_charges"):
        if atoms.has(name) and np.any(atoms.arrays[name]):
            structure[name] = _on_grid(atoms.arrays[name], name)
    canonical = _canonical({"structure": structure, "settings": _plain(settings, "settings", True)})
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _on_grid(values: Any, what: str) -> Any:
    array = np.asarray(values, dtype=float)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{what} are not finite: such a structure cannot be labelled")
    # Whole numbers of the resolution: -0.0 becomes 0, and no decimal fraction is printed.
    return np.rint(array / _RESOLUTION_A).astype(np.int64).tolist()


def _plain(value: Any, where: str, canonical: bool) -> Any:
    """Return `value` as plain JSON; with `canonical` also 60.0 as 60, for they are equal."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not np.isfinite(value):
            raise ValueError(f"{where} is {value}, which is no setting and cannot be stored")
        return int(value) if canonical and value.is_integer() else value
    if isinstance(value, Mapping):
        if wrong := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"{where} has a name that is not text: {wrong[0]!r}")
        return {name: _plain(v, f"{where}.{name}", canonical) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{where}[{i}]", canonical) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), where, canonical)
    if isinstance(value, Path) and not canonical:
        return str(value)
    raise TypeError(f"{where} is {type(value).__name__}, not a plain JSON value")


def label_content(label: Label) -> dict[str, Any]:
    """Return what the file of `label` holds. Raises ValueError where a number is missing."""
    atoms = label.atoms
    if atoms.calc is None:
        raise ValueError("the label's atoms carry no calculator with energy, forces and stress")
    computed = getattr(atoms.calc, "atoms", None)
    if computed is not None and _moved(computed, atoms):
        raise ValueError("the label's atoms were changed after their energy was computed")
    # From the results themselves: atoms.get_forces() would zero those of constrained atoms.
    results = {k: v for k, v in atoms.calc.results.items() if k in all_properties and v is not None}
    shapes: dict[str, tuple[int, ...]] = {"energy": (), "forces": (len(atoms), 3)}
    imported = label.settings.get("code") == "imported"  # others' data may have no stress
    if (all(atoms.pbc) and not imported) or "stress" in results:
        shapes["stress"] = (6,)
    for name, shape in shapes.items():
        found = results.get(name)
        if found is None or np.shape(found) != shape or not np.all(np.isfinite(found)):
            raise ValueError(f"the label has no finite {name} of shape {shape}: {found!r}")
    return {
        "atoms": _atoms_to(atoms),
        "results": {k: np.asarray(v, dtype=float).tolist() for k, v in results.items()},
        "settings": _plain(label.settings, "settings", False),
        "meta": _record(label.meta),
    }


def _moved(computed: Atoms, atoms: Atoms) -> bool:
    """Say whether two structures differ by more than the key's resolution."""
    return not (
        np.array_equal(computed.numbers, atoms.numbers)
        and np.array_equal(computed.pbc, atoms.pbc)
        and np.allclose(computed.positions, atoms.positions, rtol=0, atol=_RESOLUTION_A)
        and np.allclose(computed.cell.array, atoms.cell.array, rtol=0, atol=_RESOLUTION_A)
    )


def label_from(path: Path, content: Mapping[str, Any]) -> Label:
    """Return the label whose content was read from `path`. Raises CorruptLabelError."""
    with corrupt_if_malformed(path):
        atoms = atoms_from(content["atoms"])
        results = {k: _results_from(v) for k, v in content["results"].items()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        return Label(atoms, content["settings"], content["meta"])


def failure_content(
    atoms: Atoms, settings: Mapping[str, Any], error: OracleError
) -> dict[str, Any]:
    """Return what the file of a failed structure holds."""
    return {
        "atoms": _atoms_to(atoms),
        "settings": _plain(settings, "settings", False),
        "diagnosis": error.diagnosis,
        "meta": _record(error.meta),
    }


def _record(value: Any) -> Any:
    """Return `value` as plain JSON, whatever it is: a label is not lost for an odd remark."""
    if isinstance(value, Mapping):
        return {str(name): _record(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_record(v) for v in value]
    try:
        return _plain(value, "meta", False)
    except (TypeError, ValueError):
        return str(value)


def _results_from(value: Any) -> Any:
    return np.array(value, dtype=float) if isinstance(value, list) else value


def _atoms_to(atoms: Atoms) -> dict[str, Any]:
    arrays = {}
    for name, array in atoms.arrays.items():
        if name in {"numbers", "positions"}:
            continue
        if array.dtype.kind in "biu" or (array.dtype.kind == "f" and np.all(np.isfinite(array))):
            arrays[name] = {"dtype": array.dtype.str, "values": array.tolist()}
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "pbc": [bool(flag) for flag in atoms.pbc],
        "arrays": arrays,
        "info": dict(_plain_info(atoms.info)),
    }


def _plain_info(info: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    # Others put objects there (ase.spacegroup does); only plain values are kept. Provenance is
    # never dropped in silence.
    for name, value in info.items():
        try:
            plain = _plain(value, f"info[{name!r}]", False)
        except (TypeError, ValueError):
            if name == provenance.KEY:
                raise
            continue
        if isinstance(name, str):
            yield name, plain


def atoms_from(content: Mapping[str, Any]) -> Atoms:
    """Return the structure of a file's ``atoms``."""
    atoms = Atoms(
        numbers=content["numbers"],
        positions=np.array(content["positions"], dtype=float).reshape(-1, 3),
        cell=content["cell"],
        pbc=content["pbc"],
        info=content["info"],
    )
    for name, array in content["arrays"].items():
        atoms.set_array(name, np.array(array["values"], dtype=np.dtype(array["dtype"])))
    return atoms


def sealed(key: str, content: Mapping[str, Any]) -> str:
    """Return the text of a file that holds `content` under `key`, with its checksum."""
    checksum = hashlib.sha256(_canonical(content).encode()).hexdigest()
    whole = {"format": _FORMAT, "key": key, "checksum": checksum, "content": content}
    return json.dumps(whole, sort_keys=True, allow_nan=False) + "\n"


def read_sealed(path: Path, key: str) -> dict[str, Any] | None:
    """Return the verified content of a file, None if there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        whole = json.loads(data)
        form, named, checksum, content = (
            whole[name] for name in ("format", "key", "checksum", "content")
        )
        found = hashlib.sha256(_canonical(content).encode()).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptLabelError(path, f"not a label's file ({error})") from error
    if form != _FORMAT:
        raise CorruptLabelError(path, f"its format is {form!r}, not {_FORMAT!r}")
    if found != checksum:
        raise CorruptLabelError(path, "its checksum does not match its content")
    if named != key:
        raise CorruptLabelError(path, f"it holds the label {named!r}, not the one it is named for")
    return dict(content)


@contextlib.contextmanager
def corrupt_if_malformed(path: Path) -> Iterator[None]:
    """Name `path` in a CorruptLabelError where its content cannot be understood."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptLabelError(path, f"malformed content ({error!r})") from error
