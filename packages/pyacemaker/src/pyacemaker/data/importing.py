"""Data that users already have, taken into a label store.

An imported label is never mixed with others in silence: its settings are
``{"code": "imported", "name": ..., "source_sha256": ..., "method": {...}}`` and part of its
key, so no campaign takes it for a label of its own oracle. A campaign uses imported labels
only where its configuration names them (``oracle.imported``), and only after it has labelled
some of their structures itself and found the same forces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from pyacemaker.data.checks import Finding, check_one, energy_outliers, stress_pairs
from pyacemaker.data.exchange import LABEL_KEY, META, SETTINGS
from pyacemaker.data.listing import DataError
from pyacemaker.data.reading import Convention, read_labelled
from pyacemaker.files import sha256_of
from pyacemaker.label_files import label_key
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.base import Label
from pyacemaker.provenance import KEY, tag

IMPORTED = "imported"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class Imported:
    """What became of a file's structures.

    `taken` are keys, `set_aside` a place in the file (from 1) and why, `remarks` what is
    missing or odd and yet taken.
    """

    read: int
    taken: tuple[str, ...]
    duplicates: int
    set_aside: tuple[tuple[int, str], ...]
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "read": self.read,
            "imported": len(self.taken),
            "duplicates": self.duplicates,
            "keys": list(self.taken),
            "set_aside": [{"structure": place, "why": why} for place, why in self.set_aside],
            "remarks": list(self.remarks),
        }


@dataclass
class _Plan:
    labels: dict[str, Label] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    aside: list[tuple[int, str]] = field(default_factory=list)
    duplicates: int = 0
    read: int = 0


def import_file(
    store: LabelStore,
    path: Path,
    name: str,
    method: Mapping[str, Any],
    convention: Convention | None = None,
    *,
    keep_outliers: bool = False,
    restore: bool = False,
    dry_run: bool = False,
) -> Imported:
    """Import the labelled structures of `path` into `store`.

    Parameters
    ----------
    store
        Where they go.
    path
        Extended XYZ, an ASE database, vasprun.xml, OUTCAR, or another format of ASE.
    name
        The data set's name, by which ``oracle.imported`` refers to it.
    method
        How the labels were computed, in the user's own words (plain JSON values).
    convention
        Names, units and signs in the file.
    keep_outliers
        Take what the checks find odd as well; it is remarked.
    restore
        Bring labels that `pyacemaker data export` wrote back under their own settings; each
        must have the key it was exported with, and none is set aside for being odd.
    dry_run
        Store nothing.

    Raises
    ------
    DataError
        For a file that cannot be read, a name that is none, or a file whose stresses are not
        the derivative of its energies; the message says what they agree with instead.
    """
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name for a data set; use letters, digits and . _ + -")
    convention = convention or Convention()
    plan = _Plan()
    source = {"code": IMPORTED, "name": name, "source_sha256": _sha256(path), "method": method}
    known = set() if restore else _known(store, method)
    for item in read_labelled(path, convention):
        plan.read += 1
        if item.atoms is None:
            plan.aside.append((item.place, item.problem))
            continue
        try:
            label = _restored(item.atoms) if restore else _label(item.atoms, source, path, item)
        except (DataError, TypeError, ValueError) as error:
            plan.aside.append((item.place, str(error)))
            continue
        key = label_key(label.atoms, label.settings)
        same = key if restore else _structure_key(label.atoms, method)
        if same in known or key in plan.labels or store.contains(key):
            plan.duplicates += 1
            continue
        known.add(same)
        plan.labels[key], plan.places[key] = label, item.place
    if plan.read == 0:
        raise DataError(f"{path} holds no structures")
    _demand_stress_convention(plan.labels, path)
    remarks = _sift(plan, keep_outliers or restore)  # a restored label is known by its key
    if not dry_run:
        for label in plan.labels.values():
            store.put(label)
    aside = tuple(sorted(plan.aside))
    return Imported(plan.read, tuple(plan.labels), plan.duplicates, aside, tuple(remarks))


def _sift(plan: _Plan, keep_outliers: bool) -> list[str]:
    """Take the odd ones out of the plan, or remark them; return the remarks."""
    found: list[Finding] = [
        finding for key, label in plan.labels.items() for finding in check_one(key, label.atoms)
    ]
    found += energy_outliers(plan.labels)
    missing = {finding.key for finding in found if finding.kind == "no stress"}
    remarks = []
    if missing:
        remarks.append(
            f"{len(missing)} of {len(plan.labels)} periodic structures have no stress: they teach "
            "energies and forces only"
        )
    for finding in found:
        if finding.kind == "no stress":
            continue
        text = f"{finding.kind}: {finding.message}"
        if keep_outliers:
            remarks.append(f"structure {plan.places[finding.key]}: {text}; taken all the same")
        elif plan.labels.pop(finding.key, None) is not None:
            plan.aside.append((plan.places[finding.key], text))
    return remarks


def _demand_stress_convention(labels: Mapping[str, Label], path: Path) -> None:
    """Refuse stresses that follow the energies only in another sign or unit."""
    pairs = stress_pairs(labels)
    wrong = [pair for pair in pairs if not pair.agrees]
    if len(wrong) <= len(pairs) // 2:
        return
    volume = sum(label.atoms.get_volume() for label in labels.values()) / len(labels)
    readings = {
        "--pressure-sign": -1.0,
        "--stress-unit GPa": 1 / 160.21766208,
        "--stress-unit GPa --pressure-sign": -1 / 160.21766208,
        "--stress-unit kbar": 1 / 1602.1766208,
        "--stress-unit kbar --pressure-sign": -1 / 1602.1766208,
        "--virial-key with the name of the stress": -1 / volume,
    }
    for words, factor in readings.items():
        close = sum(
            abs(factor * pair.from_stress_GPa - pair.from_energy_GPa)
            <= 1.0 + 0.1 * abs(pair.from_energy_GPa)
            for pair in pairs
        )
        if close > 0.8 * len(pairs):
            raise DataError(
                f"{path}: the stresses are the derivative of the energies only if they are read "
                f"in another way; give {words}"
            )
    worst = max(wrong, key=lambda p: abs(p.from_energy_GPa - p.from_stress_GPa))
    raise DataError(
        f"{path}: {len(wrong)} of {len(pairs)} pairs of neighbouring cells have stresses that are "
        f"not the derivative of their energies (at worst {worst.from_stress_GPa:.1f} GPa where the "
        f"energies say {worst.from_energy_GPa:.1f}), whatever unit or sign is tried; leave the "
        "stresses out of the file"
    )


def _label(atoms: Atoms, source: Mapping[str, Any], path: Path, item: Any) -> Label:
    kind = str(atoms.info.get("config_type") or atoms.symbols.formula.reduce()[0])
    before = atoms.info.get(KEY)
    for name in (LABEL_KEY, SETTINGS, META, KEY):
        atoms.info.pop(name, None)
    details: dict[str, Any] = {"file": path.name, "structure": item.place}
    if before is not None:
        details["before"] = _decoded(before)
    # One group for all of a kind: what came out of one trajectory must not be divided.
    tag(atoms, IMPORTED, f"imported-{source['name']}-{kind}", **details)
    return Label(atoms, dict(source), {"wall_s": 0.0, "file": path.name, "structure": item.place})


def _restored(atoms: Atoms) -> Label:
    info = atoms.info
    if LABEL_KEY not in info or SETTINGS not in info:
        raise DataError("it was not written by `pyacemaker data export`; import without --restore")
    settings, meta = _decoded(info[SETTINGS]), _decoded(info.get(META, {}))
    provenance = _decoded(info.get(KEY, {}))
    key = str(info[LABEL_KEY])
    atoms.info = {KEY: provenance} if provenance else {}
    if label_key(atoms, settings) != key:
        raise DataError(
            f"its structure and settings are not those of the label {key[:12]} it says it is: the "
            "file was changed"
        )
    return Label(atoms, settings, meta)


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _known(store: LabelStore, method: Mapping[str, Any]) -> set[str]:
    """Return the structures already imported with the same method, from whatever file."""
    return {
        _structure_key(label.atoms, method)
        for label in imported_labels(store)
        if label.settings.get("method") == method
    }


def imported_labels(store: LabelStore, names: Iterable[str] | None = None) -> list[Label]:
    """Return the imported labels of `store`, of all data sets or of those of `names`."""
    wanted = None if names is None else set(names)
    return [
        label
        for label in store
        if label.settings.get("code") == IMPORTED
        and (wanted is None or label.settings.get("name") in wanted)
    ]


def _structure_key(atoms: Atoms, method: Mapping[str, Any]) -> str:
    return label_key(atoms, {"code": IMPORTED, "method": method})


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
