"""What has to be known before the first cycle: cutoff, isolated atoms, reference structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.units import Rydberg

from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.labelling import label_batch
from pyacemaker.campaign.phases import find_phases
from pyacemaker.campaign.state import CampaignState
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.oracle.base import Oracle
from pyacemaker.oracle.dft_settings import GPAWSettings, VASPSettings
from pyacemaker.oracle.settings import ASESettings, EspressoSettings, RootstockSettings
from pyacemaker.provenance import tag

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign


@dataclass(frozen=True)
class Prepared:
    """The oracle at its converged cutoff, the material's reference cell, and E0 (eV).

    `phases` are the stable phases a potential must describe, the reference cell first.
    """

    oracle: Oracle
    reference: Atoms
    reference_energies: Mapping[str, float]
    phases: tuple[Atoms, ...] = ()

    def __post_init__(self) -> None:
        if not self.phases:
            object.__setattr__(self, "phases", (self.reference,))


def remember_settings(state: CampaignState, settings: CampaignSettings) -> None:
    """Keep the settings in a new campaign; compare them in one that is resumed.

    Raises CampaignError if something was changed that would mix two campaigns.
    """
    before = state.fact("settings")
    if before is not None:
        old = CampaignSettings.model_validate(before)
        if old.science_digest() != settings.science_digest():
            now = settings.model_dump(mode="json")
            changed = sorted(_differences(old.model_dump(mode="json"), now))
            raise CampaignError(
                f"{state.path.parent} holds a campaign with other settings "
                f"({', '.join(changed[:4])}). Put them back, or start in a new work directory: "
                "copy the folder 'labels' there to keep the finished labels"
            )
    state.set_fact("settings", settings.model_dump(mode="json"))


def _differences(before: Any, now: Any, path: str = "") -> set[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        found: set[str] = set()
        for key in before.keys() | now.keys():
            where = f"{path}.{key}" if path else str(key)
            found |= _differences(before.get(key), now.get(key), where)
        return found
    return set() if before == now else {path}


def prepare(campaign: Campaign) -> Prepared:
    """Do the preparation, or read it back."""
    expected = _reference(campaign)
    oracle = _converged_oracle(campaign, expected)
    energies = _reference_energies(campaign, oracle)
    phases = find_phases(campaign, oracle, expected)
    return Prepared(oracle, phases[0], energies, phases)


def _reference(campaign: Campaign) -> Atoms:
    """Return the material's reference cell: the user's, or the most likely prototype."""
    settings = campaign.settings
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        from pyacemaker.generator.prototypes import reference_structure

        atoms = settings.structure.atoms()
        if atoms is None:
            atoms = reference_structure(settings.elements)
        tag(atoms, "reference", "reference", source=settings.structure.name)
        journal.note(0, "reference", f"{atoms.symbols}, {len(atoms)} atoms")
        return {"structure": journal.save(journal.folder(0) / "reference.json", [atoms])}

    (atoms,) = journal.load(journal.step(0, "reference", work)["structure"])
    return atoms


def _converged_oracle(campaign: Campaign, reference: Atoms) -> Oracle:
    """Return the oracle; for plane waves, with the cutoff that passed the gate."""
    settings = campaign.settings.oracle
    make = campaign.parts.make_oracle
    if isinstance(settings, ASESettings | RootstockSettings):
        return make(settings)
    start_Ry = cutoff_of(settings)

    def at_cutoff(ecutwfc_Ry: float) -> Oracle:
        return make(with_cutoff(settings, ecutwfc_Ry))

    def work(_: np.random.Generator) -> dict[str, Any]:
        from pyacemaker.oracle.cutoff_gate import converge_cutoff

        report = converge_cutoff(
            at_cutoff,
            start_Ry,
            [reference, compressed(reference)],
            campaign.journal.folder(0) / "cutoff",
        )
        if not report.passed:
            if problem := report.rows[-1].problem if report.rows else "":
                raise CampaignError(
                    f"the reference structure could not be labelled at any cutoff up to "
                    f"{report.ecutwfc_Ry:.0f} Ry: {problem}"
                )
            raise CampaignError(
                f"energy and pressure are not converged at {report.ecutwfc_Ry:.0f} Ry, the highest "
                "cutoff that was tried. Set the oracle's cutoff by hand, or choose softer "
                "pseudopotentials"
            )
        raised = report.ecutwfc_Ry > start_Ry
        campaign.journal.note(
            0,
            "cutoff",
            f"cutoff {report.ecutwfc_Ry:.0f} Ry is converged"
            + (f" (raised from {start_Ry:.0f} Ry)" if raised else ""),
        )
        return {"ecutwfc_Ry": report.ecutwfc_Ry, "report": report.as_dict()}

    return at_cutoff(campaign.journal.step(0, "cutoff", work)["ecutwfc_Ry"])


def cutoff_of(settings: EspressoSettings | GPAWSettings | VASPSettings) -> float:
    """Return the plane-wave cutoff in Ry, whatever unit the code has."""
    if isinstance(settings, EspressoSettings):
        return settings.ecutwfc_Ry
    return float(settings.ecut_eV / Rydberg)


def with_cutoff(
    settings: EspressoSettings | GPAWSettings | VASPSettings, ecutwfc_Ry: float
) -> EspressoSettings | GPAWSettings | VASPSettings:
    """Return the settings at another cutoff (Ry); the density's keeps its ratio to it."""
    if isinstance(settings, EspressoSettings):
        ratio = settings.ecutrho_Ry / settings.ecutwfc_Ry
        changed = {"ecutwfc_Ry": ecutwfc_Ry, "ecutrho_Ry": ratio * ecutwfc_Ry}
        return settings.model_copy(update=changed)
    return settings.model_copy(update={"ecut_eV": ecutwfc_Ry * Rydberg})


def compressed(atoms: Atoms, strain: float = -0.04) -> Atoms:
    """Return `atoms` with every cell edge scaled by 1 + `strain`."""
    squeezed: Atoms = atoms.copy()
    squeezed.set_cell(squeezed.cell * (1 + strain), scale_atoms=True)
    return tag(squeezed, "cutoff", "cutoff", strain=strain)


def _reference_energies(campaign: Campaign, oracle: Oracle) -> dict[str, float]:
    """Return the energy of one isolated atom of each element (eV)."""
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        from pyacemaker.generator.pairs import isolated_atoms

        atoms = isolated_atoms(campaign.settings.elements)
        batch = label_batch(atoms, oracle, campaign.store, campaign.executor, journal.progress)
        if batch.failures:
            what = "; ".join(sorted(set(batch.failures.values())))
            raise CampaignError(
                f"an isolated atom could not be labelled ({what}). Check the oracle's settings"
            )
        return {"keys": list(batch.keys), "roles": ["train"] * len(batch.keys)}

    energies = {}
    for key in journal.step(0, "atoms", work)["keys"]:
        label = campaign.store.get(key)
        if label is None:
            raise CampaignError(f"{campaign.store.directory}: label {key[:12]} is missing")
        energies[label.atoms.get_chemical_symbols()[0]] = label.atoms.get_potential_energy()
    return energies
