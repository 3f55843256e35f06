"""A structure as bytes, so that any change of it is found, and found quickly."""

from __future__ import annotations

from typing import NamedTuple

from ase import Atoms
from ase.calculators.calculator import all_changes

from rootstock.protocol.structures import KEPT_ARRAYS, kept

_KEPT_NAMES = ("numbers", "pbc", *KEPT_ARRAYS)


class State(NamedTuple):
    """A structure, as bytes to compare."""

    positions: bytes
    cell: bytes
    kept: tuple[bytes, ...]


def observe(atoms: Atoms) -> State:
    """Return a structure's state."""
    return State(atoms.arrays["positions"].tobytes(), atoms.cell.array.tobytes(), kept(atoms))


def changes_between(old: State | None, new: State) -> list[str]:
    """Name what is different, as ASE does, and `tags` and `info`."""
    if old is None:
        return list(all_changes)
    changes = []
    if new.positions != old.positions:
        changes.append("positions")
    if new.cell != old.cell:
        changes.append("cell")
    named = len(_KEPT_NAMES)
    pairs = zip(_KEPT_NAMES, new.kept, old.kept, strict=False)
    changes += [name for name, now, before in pairs if now != before]
    if new.kept[named:] != old.kept[named:]:
        changes.append("info")
    return changes
