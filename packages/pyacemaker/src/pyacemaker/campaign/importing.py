"""Imported data sets in a campaign: compared with its own oracle first, then learnt from.

A sample is labelled again by the campaign's oracle. The imported energies may have another
zero for each element (other pseudopotentials); that shift is fitted to the sample, and what is
left, like the difference of forces and stresses, must be below the errors the campaign aims
at. Else the data cannot teach what it asks for, and the campaign stops with the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.dataset import TRAIN
from pyacemaker.campaign.entries import COMPARE_STEP, IMPORT_STEP
from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.labelling import label_batch
from pyacemaker.core_weight import core_weights
from pyacemaker.oracle.base import Label

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

_SAMPLE = 4  # and one for each element, whose shift is fitted


@dataclass(frozen=True)
class Comparison:
    """Imported labels less the oracle's: shift (eV/atom of each element), what is left of it.

    `energy_rmse` in eV/atom after the shift, `force_rmse` in eV/angstrom, a component.
    """

    shifts: Mapping[str, float]
    energy_rmse: float
    force_rmse: float


def take_imported(campaign: Campaign, prepared: Prepared) -> None:
    """Compare the data sets that the configuration names, and take them into the training set.

    Raises CampaignError where there are none of that name, or they do not agree.
    """
    names = campaign.settings.imported
    if not names:
        return
    found = _usable(campaign, names)
    compared = _compare(campaign, prepared, found)
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        again = set(compared["structures"])
        keys = [key for key in found if key not in again]
        journal.note(0, IMPORT_STEP, f"{len(keys)} labels of {', '.join(names)} are learnt from")
        return {"keys": keys, "roles": [TRAIN] * len(keys), "shifts": compared["shifts"]}

    journal.step(0, IMPORT_STEP, work)


def _usable(campaign: Campaign, names: Sequence[str]) -> dict[str, Label]:
    from pyacemaker.data.importing import imported_labels

    elements = set(campaign.settings.elements)
    labels = imported_labels(campaign.store, names)
    held = {str(label.settings["name"]) for label in labels}
    if missing := [name for name in names if name not in held]:
        raise CampaignError(
            f"{campaign.store.directory} holds no imported data set {missing[0]!r}; bring it in "
            f"with: pyacemaker data import {campaign.journal.workdir} FILE --name {missing[0]}"
        )
    found = {campaign.store.key(label.atoms, label.settings): label for label in labels}
    usable = {k: v for k, v in found.items() if set(v.atoms.get_chemical_symbols()) <= elements}
    if not usable:
        raise CampaignError(f"no structure of {', '.join(names)} is of {' '.join(elements)} alone")
    return dict(sorted(usable.items()))


def _compare(campaign: Campaign, prepared: Prepared, found: Mapping[str, Label]) -> dict[str, Any]:
    journal = campaign.journal
    settings = campaign.settings

    def work(rng: np.random.Generator) -> dict[str, Any]:
        # The smaller half: what comparing costs, and cells of any size show other settings.
        by_size = sorted(found, key=lambda key: (len(found[key].atoms), key))
        small = by_size[: max(len(by_size) // 2, _SAMPLE + len(settings.elements))]
        count = min(len(small), _SAMPLE + len(settings.elements))
        chosen = [small[i] for i in sorted(rng.permutation(len(small))[:count])]
        structures = [_bare(found[key].atoms) for key in chosen]
        batch = label_batch(
            structures, prepared.oracle, campaign.store, campaign.executor, journal.progress
        )
        pairs, kept = [], []
        for key, ours in zip(chosen, batch.keys, strict=True):
            label = campaign.store.get(ours) if ours is not None else None
            if label is not None:
                pairs.append((found[key].atoms, label.atoms))
                kept.append(key)
        if not pairs:
            raise CampaignError("no imported structure could be labelled to compare it")
        result = compared(pairs, settings.elements)
        goal = settings.convergence
        text = (
            f"{len(pairs)} imported labels differ from the oracle's by "
            f"{1000 * result.energy_rmse:.1f} meV/atom (after a shift of each element) and "
            f"{result.force_rmse:.3f} eV/A"
        )
        if (
            result.energy_rmse > goal.energy_rmse_eV_per_atom
            or result.force_rmse > goal.force_rmse_eV_per_A
        ):
            raise CampaignError(
                f"{text}, more than the errors this campaign aims at "
                f"({1000 * goal.energy_rmse_eV_per_atom:g} meV/atom, {goal.force_rmse_eV_per_A:g} "
                "eV/A): they were made with other settings. Leave them out of oracle.imported, or "
                "set the oracle to theirs"
            )
        journal.note(0, COMPARE_STEP, text)
        return {
            "keys": list(batch.keys),
            "roles": [TRAIN] * len(batch.keys),
            "failures": batch.failures,
            "structures": kept,
            "shifts": dict(result.shifts),
            "energy_rmse": result.energy_rmse,
            "force_rmse": result.force_rmse,
        }

    return journal.step(0, COMPARE_STEP, work)


def compared(pairs: Sequence[tuple[Atoms, Atoms]], elements: Sequence[str]) -> Comparison:
    """Compare imported labels (first of each pair) with the oracle's of the same structures."""
    counts = np.array(
        [[a.get_chemical_symbols().count(e) / len(a) for e in elements] for a, _ in pairs]
    )
    off = np.array(
        [
            (ours.calc.results["energy"] - theirs.calc.results["energy"]) / len(ours)
            for theirs, ours in pairs
        ]
    )
    shifts = np.linalg.lstsq(counts, off, rcond=None)[0]
    forces = np.concatenate(
        [
            (ours.calc.results["forces"] - theirs.calc.results["forces"])[
                core_weights(theirs) > 0
            ].ravel()
            for theirs, ours in pairs
        ]
    )
    return Comparison(
        dict(zip(elements, shifts.tolist(), strict=True)),
        float(np.sqrt(np.mean((off - counts @ shifts) ** 2))),
        float(np.sqrt(np.mean(forces**2))),
    )


def _bare(atoms: Atoms) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = None
    return copy
