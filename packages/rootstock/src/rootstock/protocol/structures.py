"""Structures and results as bytes.

A structure has a part that an MD changes at every step, positions and cell, and one that stays:
species, pbc, initial charges and magnetic moments, tags, and `info` (total charge, spin, the
task of a model with several heads). The second is sent when it has changed, as told by `kept`,
which compares bytes, so that no change is ever missed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from rootstock.errors import ProtocolError

Array = NDArray[np.float64]
Results = dict[str, Any]
Schema = list[list[Any]]

KEPT_ARRAYS = ("initial_charges", "initial_magmoms", "tags")
_CELL = 72


def kept(atoms: Atoms) -> tuple[bytes, ...]:
    """Return what stays in an MD, as bytes to compare."""
    arrays = atoms.arrays
    key = [arrays["numbers"].tobytes(), atoms.pbc.tobytes()]
    for name in KEPT_ARRAYS:
        array = arrays.get(name)
        key.append(b"" if array is None else np.ascontiguousarray(array).tobytes() + b".")
    if atoms.info:
        key.append(json.dumps(encode_info(atoms.info), sort_keys=True).encode())
    return tuple(key)


def encode_info(info: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what of `atoms.info` can be sent: JSON, and numpy numbers and arrays.

    Whatever else a user keeps there (objects, keys that are no strings) is left out.
    """
    encoded: dict[str, Any] = {}
    for key, value in info.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            if array.dtype.kind in "biuf":
                encoded[key] = {"numpy": array.dtype.str, "values": array.tolist()}
            continue
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        encoded[key] = {"json": value}
    return encoded


def decode_info(encoded: Mapping[str, Any]) -> dict[str, Any]:
    """Return `info` as it was, with its numpy types."""
    return {
        key: value["json"] if "json" in value else np.array(value["values"], value["numpy"])[()]
        for key, value in encoded.items()
    }


def species(atoms: Atoms) -> dict[str, Any]:
    """Return what stays, as one object of JSON: for INIT's string, where i-PI is spoken."""
    return {
        "numbers": atoms.numbers.tolist(),
        "pbc": [bool(x) for x in atoms.pbc],
        "arrays": {n: atoms.arrays[n].tolist() for n in KEPT_ARRAYS if n in atoms.arrays},
        "info": encode_info(atoms.info),
    }


def of_species(told: Mapping[str, Any]) -> Atoms:
    """Return a structure from `species`, of which the numbers alone have to be there."""
    atoms = Atoms(
        numbers=told["numbers"],
        pbc=told.get("pbc", True),
        info=decode_info(told.get("info", {})),
    )
    for name, values in told.get("arrays", {}).items():
        atoms.set_array(name, np.array(values))
    return atoms


def moving_size(counts: Sequence[int]) -> int:
    """Return the bytes of the part that changes: for each structure positions, then cell."""
    return sum(24 * count + _CELL for count in counts)


def moving_views(buffer: memoryview, counts: Sequence[int]) -> list[tuple[Array, Array]]:
    """Return views of the positions (N x 3) and the cell (3 x 3) of each structure."""
    views = []
    offset = 0
    for count in counts:
        positions = np.frombuffer(buffer, np.float64, 3 * count, offset).reshape(count, 3)
        offset += 24 * count
        cell = np.frombuffer(buffer, np.float64, 9, offset).reshape(3, 3)
        offset += _CELL
        views.append((positions, cell))
    return views


def describe(structures: Sequence[Atoms]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the part that stays: an object for the text, and the arrays' bytes in its order."""
    told = []
    data = []
    for atoms in structures:
        arrays = []
        for name in ("numbers", *KEPT_ARRAYS):
            if (array := atoms.arrays.get(name)) is None:
                continue
            array = np.ascontiguousarray(array)
            arrays.append([name, array.dtype.str, list(array.shape)])
            data.append(array.tobytes())
        told.append(
            {
                "count": len(atoms),
                "pbc": [bool(x) for x in atoms.pbc],
                "arrays": arrays,
                "info": encode_info(atoms.info),
            }
        )
    return told, data


def rebuild(told: Sequence[Mapping[str, Any]], data: memoryview) -> list[Atoms]:
    """Return structures from `describe`, with positions and cell zero. Raises ProtocolError."""
    structures = []
    offset = 0
    for one in told:
        arrays: dict[str, Any] = {}
        for name, dtype, shape in one["arrays"]:
            arrays[name], offset = _take(data, offset, dtype, shape)
        numbers = arrays.pop("numbers")
        if numbers.shape != (one["count"],):
            raise ProtocolError(f"{one['count']} atoms have numbers of shape {numbers.shape}")
        atoms = Atoms(numbers=numbers, pbc=one["pbc"], info=decode_info(one["info"]))
        for name, array in arrays.items():
            atoms.set_array(name, array)
        structures.append(atoms)
    return structures


def schema_of(results: Mapping[str, Any]) -> tuple[Schema, list[NDArray[Any]]]:
    """Return names, types and shapes of numeric results, and the arrays in this order."""
    schema: Schema = []
    arrays = []
    for name, value in results.items():
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            continue
        schema.append([name, array.dtype.str, list(array.shape)])
        arrays.append(array)
    return schema, arrays


@dataclass(frozen=True)
class ResultViews:
    """The results of one structure where they lie in a buffer, to be copied out of it.

    `numbers` is all of them in a row, to look through at once; None where they are not all of
    them doubles.
    """

    scalars: tuple[tuple[str, NDArray[Any]], ...]
    arrays: tuple[tuple[str, NDArray[Any]], ...]
    numbers: Array | None

    def copy(self) -> Results:
        """Return the results, scalars as Python numbers."""
        results: Results = {name: view.item() for name, view in self.scalars}
        for name, view in self.arrays:
            results[name] = view.copy()
        return results


def result_views(schema: Schema, data: memoryview, offset: int) -> tuple[ResultViews, int]:
    """Return views of one structure's results, and where the next one's begin."""
    scalars: list[tuple[str, NDArray[Any]]] = []
    arrays: list[tuple[str, NDArray[Any]]] = []
    begin = offset
    plain = True
    for name, dtype, shape in schema:
        kind = np.dtype(dtype)
        count = math.prod(shape)
        end = offset + count * kind.itemsize
        if kind.hasobject or count < 0 or end > len(data):
            raise ProtocolError(f"an array of {count} {dtype} does not fit into the message")
        view = np.frombuffer(data[offset:end], kind).reshape(shape) if count else np.zeros(shape)
        (arrays if shape else scalars).append((str(name), view))
        plain = plain and kind == np.float64
        offset = end
    numbers = np.frombuffer(data[begin:offset], np.float64) if plain and offset > begin else None
    return ResultViews(tuple(scalars), tuple(arrays), numbers), offset


def _take(data: memoryview, offset: int, dtype: str, shape: list[int]) -> tuple[Any, int]:
    kind = np.dtype(dtype)
    count = math.prod(shape)
    end = offset + count * kind.itemsize
    if kind.hasobject or count < 0 or end > len(data):
        raise ProtocolError(f"an array of {count} {dtype} does not fit into the message")
    if not count:
        return np.zeros(shape, kind), offset
    return np.frombuffer(data, kind, count, offset).reshape(shape).copy(), end
