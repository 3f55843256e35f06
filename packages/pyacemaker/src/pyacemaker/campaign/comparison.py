"""Two campaigns read from their work directories, and each potential on each test set."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from pyacemaker.campaign import fits
from pyacemaker.campaign.dataset import load
from pyacemaker.campaign.outcome import outcome_of
from pyacemaker.campaign.report_data import parity_of, report_data
from pyacemaker.campaign.state import CampaignState
from pyacemaker.labels import LabelStore
from pyacemaker.potential import Potential
from pyacemaker.report.comparison import Compared, oracle_differences
from pyacemaker.report.data import ParitySet, ReportData


@dataclass(frozen=True)
class _Campaign:
    """What a comparison needs of a campaign: `potential` is the newest, None before the first."""

    data: ReportData
    potential: Potential | None
    test: tuple[Atoms, ...]


def compare(first: Path, second: Path) -> Compared:
    """Read two campaigns, which may be running, and test each potential on both test sets.

    Raises one of `report_data.UNREADABLE`: StateError if there is no campaign in one of the
    directories, others where a file of it is missing or damaged.
    """
    sides = (_read(first), _read(second))
    compared = Compared(_names(first, second), (sides[0].data, sides[1].data))
    other = _other_labels(compared)
    notes = [other] if other else []
    crossed: dict[tuple[int, int], ParitySet] = {}
    for i, of in enumerate(sides):
        for j, on in enumerate(sides):
            if of.potential is None or not on.test:
                continue
            unknown = {s for atoms in on.test for s in atoms.symbols} - set(of.potential.elements)
            if unknown:
                notes.append(
                    f"the potential of {'AB'[i]} does not know {', '.join(sorted(unknown))}, so it "
                    f"is not tested on the structures of {'AB'[j]}"
                )
                continue
            found = parity_of(list(on.test), of.potential.calculator())
            crossed[i, j] = _shifted(found, on.test) if other and i != j else found
    return replace(compared, crossed=crossed, notes=tuple(f"{note}." for note in notes))


def _shifted(found: ParitySet, structures: tuple[Atoms, ...]) -> ParitySet:
    """Move the predicted energies by the constant per element that fits the labels best.

    Two sources of labels have two zeros of energy, which mean nothing.
    """
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    shares = np.array(
        [[list(atoms.symbols).count(e) / len(atoms) for e in elements] for atoms in structures]
    )
    reference = np.array(found.energy_reference, dtype=float)
    predicted = np.array(found.energy_predicted, dtype=float)
    shift = np.linalg.lstsq(shares, reference - predicted, rcond=None)[0]
    return found.model_copy(update={"energy_predicted": (predicted + shares @ shift).tolist()})


def _other_labels(compared: Compared) -> str:
    """Say that the labels of the two were not computed alike, or nothing where they were."""
    differing = oracle_differences(compared)
    if not differing:
        return ""
    codes = [
        next((row.value for row in data.settings if row.key == "oracle.code"), "?")
        for data in compared.campaigns
    ]
    how = (
        f"A by {codes[0]}, B by {codes[1]}"
        if codes[0] != codes[1]
        else "these settings differ: " + ", ".join(differing)
    )
    return (
        f"the labels were not computed alike ({how}), so differences between the potentials are "
        "also those between the labels; their zeros of energy are taken to agree as well as can be"
    )


def _read(workdir: Path) -> _Campaign:
    with closing(CampaignState(workdir, read_only=True)) as state:
        store = LabelStore(workdir / "labels")
        data = report_data(workdir, state, store, outcome_of(state), predict=False)
        trained = state.steps("train")
        newest = fits.current(state, trained[-1].iteration) if trained else None
        potential = Potential.load(workdir / newest["potential"]) if newest else None
        seed = (state.fact("settings") or {}).get("seed", 0)
        return _Campaign(data, potential, load(state, store, seed).test)


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return the directories' names, with as much of the path as tells them apart."""
    a, b = first.resolve(), second.resolve()
    for length in range(1, 1 + max(len(a.parts), len(b.parts))):
        names = "/".join(a.parts[-length:]), "/".join(b.parts[-length:])
        if names[0] != names[1]:
            return names
    return f"{a.name} (A)", f"{b.name} (B)"
