"""The labelled structures of a campaign, and which side of the split each is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from pyacemaker.campaign.entries import IMPORT_STEP, Entry, entries
from pyacemaker.campaign.state import CampaignState
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.base import Label
from pyacemaker.provenance import group_of
from pyacemaker.structures import CorruptFileError
from pyacemaker.trainer.split import side_of

TRAIN, VALIDATION, TEST, FREE = "train", "validation", "test", "free"
_FREE_FRACTIONS = (0.9, 0.1, 0.0)


@dataclass(frozen=True)
class Dataset:
    """Labelled structures, disjoint by group. Each carries its label in `atoms.calc`."""

    train: tuple[Atoms, ...]
    validation: tuple[Atoms, ...]
    test: tuple[Atoms, ...]

    @property
    def size(self) -> int:
        """Number of labels in all."""
        return len(self.train) + len(self.validation) + len(self.test)


def read_labels(
    found: Sequence[Entry], store: LabelStore, state: CampaignState | None = None
) -> list[Label]:
    """Read the labels of entries. Raises CorruptFileError where one is missing.

    Energies of imported ones are moved to the zero of the campaign's oracle (see
    `campaign.importing`), which `state` knows.
    """
    taken = state.result(0, IMPORT_STEP) if state is not None else None
    shifts: dict[str, float] = taken["shifts"] if taken else {}
    labels = []
    for entry in found:
        label = store.get(entry.key)
        if label is None:
            raise CorruptFileError(
                f"{store.directory}: label {entry.key[:12]} of iteration {entry.iteration} is "
                "missing. Restore the folder from a copy, or start in a new work directory"
            )
        if entry.step == IMPORT_STEP:
            _shift(label.atoms, shifts)
        labels.append(label)
    return labels


def _shift(atoms: Atoms, shifts: Mapping[str, float]) -> None:
    """Add a constant (eV) for each atom of an element to the energy the structure carries."""
    more = sum(shifts.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols())
    for name in ("energy", "free_energy"):
        if atoms.calc.results.get(name) is not None:
            atoms.calc.results[name] += more


def split_of(found: Sequence[Entry], labels: Sequence[Label], seed: int) -> dict[str, str]:
    """Return the side (train, validation, test) of every label by its key.

    What is pinned stays where it is; the rest goes to training or validation by the hash of
    its group's name. A label never changes sides later, and a group is never divided: a
    group that gave a test structure is taken out of the pool when it is drawn.
    """
    sides: dict[str, str] = {}
    for entry, label in zip(found, labels, strict=True):
        role = entry.role
        if role == FREE:
            validates = side_of(group_of(label.atoms), _FREE_FRACTIONS, seed) == 1
            role = VALIDATION if validates else TRAIN
        sides[entry.key] = role
    return sides


def load(state: CampaignState, store: LabelStore, seed: int) -> Dataset:
    """Read all labels of the campaign and split them."""
    found = entries(state)
    labels = read_labels(found, store, state)
    sides = split_of(found, labels, seed)
    parts: dict[str, list[Atoms]] = {TRAIN: [], VALIDATION: [], TEST: []}
    for entry, label in zip(found, labels, strict=True):
        atoms = label.atoms
        atoms.info["label"] = entry.key
        atoms.info["iteration"] = entry.iteration
        parts[sides[entry.key]].append(atoms)
    return Dataset(*(tuple(parts[side]) for side in (TRAIN, VALIDATION, TEST)))
