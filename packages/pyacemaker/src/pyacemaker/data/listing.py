"""Which labels a store holds, and the ones a person asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyacemaker.labels import LabelStore
from pyacemaker.oracle.base import Label
from pyacemaker.provenance import KEY

_LEAST_PREFIX = 4


class DataError(ValueError):
    """Data that cannot be read, found or written; one line with the remedy."""


@dataclass(frozen=True)
class Wanted:
    """Which labels: those that pass every filter that is set.

    `elements` must all be in the structure; `generators` is one of; `settings` are dotted
    names and the values they must have, ``{"code": "espresso", "nspin": "2"}``.
    """

    elements: Sequence[str] = ()
    generators: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def takes(self, label: Label) -> bool:
        """Say whether `label` passes."""
        present = set(label.atoms.get_chemical_symbols())
        if not set(self.elements) <= present:
            return False
        if self.generators and provenance(label).get("generator") not in self.generators:
            return False
        return all(_equal(label.settings, name, value) for name, value in self.settings.items())


def open_store(path: Path) -> LabelStore:
    """Return the store at `path`: a campaign's work directory, or its ``labels`` folder.

    Raises DataError where there is neither.
    """
    for folder in (path / "labels", path):
        if folder.is_dir() and (folder.name == "labels" or (folder / "computed.log").exists()):
            return LabelStore(folder)
    raise DataError(
        f"{path} holds no labels; name a campaign's work directory, or a label store (a folder "
        "with computed.log)"
    )


def labels_of(store: LabelStore, wanted: Wanted) -> Iterator[tuple[str, Label]]:
    """Yield key and label of what passes, in the order of the keys. Raises CorruptLabelError."""
    keys = store.keys()
    for key in keys:
        label = store.get(key)
        if label is not None and wanted.takes(label):
            yield key, label


def find_key(store: LabelStore, text: str) -> str:
    """Return the one key that begins with `text`. Raises DataError."""
    prefix = text.strip().lower()
    if len(prefix) < _LEAST_PREFIX:
        raise DataError(f"{text!r} is too short; give at least {_LEAST_PREFIX} digits of the key")
    keys = store.keys()
    found = [key for key in keys if key.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{text!r} begins {len(found)} keys; give more digits")
    raise DataError(f"no label of {store.directory} has a key that begins with {text!r}")


def row_of(key: str, label: Label) -> dict[str, Any]:
    """Return what a list shows of a label, as plain JSON values."""
    atoms, results = label.atoms, label.atoms.calc.results
    forces = np.asarray(results["forces"])
    return {
        "key": key,
        "formula": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "generator": provenance(label).get("generator"),
        "group": provenance(label).get("group"),
        "code": label.settings.get("code"),
        "energy_eV_per_atom": float(results["energy"]) / len(atoms),
        "max_force_eV_per_A": float(np.linalg.norm(forces, axis=1).max()),
        "has_stress": results.get("stress") is not None,
        "wall_s": float(label.meta.get("wall_s") or 0.0),
    }


def provenance(label: Label) -> dict[str, Any]:
    """Return the provenance of a label's structure, empty where it has none."""
    found = label.atoms.info.get(KEY)
    return found if isinstance(found, dict) else {}


def _equal(settings: Mapping[str, Any], name: str, value: str) -> bool:
    found: Any = settings
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return False
        found = found[part]
    try:
        meant = json.loads(value)
    except ValueError:
        meant = value
    return bool(found == meant) or str(found) == value
