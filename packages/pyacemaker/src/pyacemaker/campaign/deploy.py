"""What the user takes away: the potential with its certificate, the data, the report."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyacemaker.campaign import fits
from pyacemaker.campaign.dataset import read_labels, split_of
from pyacemaker.campaign.decisions import write_decisions
from pyacemaker.campaign.entries import entries
from pyacemaker.campaign.layout import CERTIFICATE, DATA, POTENTIAL, REPORT, UNCERTAINTY
from pyacemaker.campaign.outcome import Ending, Outcome, outcome_of
from pyacemaker.campaign.report_data import report_data
from pyacemaker.campaign.state import CampaignState
from pyacemaker.files import sync_folder, write_whole
from pyacemaker.labels import LabelStore
from pyacemaker.report.data import ReportData

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

_REPORT_SHARE = 0.02
"""Part of the campaign's time that reports of an unfinished campaign may take."""


def deploy(campaign: Campaign, iteration: int, fit: dict[str, Any], outcome: Outcome) -> Path:
    """Copy the potential that passed into the work directory, with its certificate."""
    journal = campaign.journal
    journal.checked(fit["manifest"])
    target = journal.workdir / POTENTIAL
    fresh = journal.workdir / f".{POTENTIAL}.{uuid.uuid4().hex}"
    shutil.copytree(journal.workdir / fit["potential"], fresh)
    certified = outcome.ending is Ending.CONVERGED
    checks = fits.verdict_of(campaign.state, iteration) or {"checks": []}
    last = campaign.state.result(iteration, "certificate") if certified else None
    certificate = {
        "certified": certified,
        "reason": outcome.reason,
        "iteration": iteration,
        "elements": list(campaign.settings.elements),
        "checks": checks["checks"] + (last["checks"] if last else []),
    }
    write_whole(fresh / CERTIFICATE, json.dumps(certificate, indent=1))
    if target.exists():
        old = journal.workdir / f".{POTENTIAL}.{uuid.uuid4().hex}"
        target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old)
    else:
        fresh.rename(target)
    sync_folder(journal.workdir)
    return target


def update_report(campaign: Campaign) -> None:
    """Write report.html for what is known by now, unless that takes too much of the time.

    A report is drawn over all labels, so it grows with the campaign. Each is written no sooner
    than `_REPORT_SHARE` allows for what the last one took; `pyacemaker report` writes one at once.

    Nor is it written where a resumed run reads back what an earlier one did: that one wrote these
    reports, and they would cost a long campaign minutes before its first new step.
    """
    if campaign.journal.reads_back():
        return
    write_decisions(campaign.state, campaign.journal.workdir)
    if time.monotonic() < campaign.report_due:
        return
    began = time.monotonic()
    write_report(campaign)
    took = time.monotonic() - began
    campaign.report_due = began + took / _REPORT_SHARE


def write_report(campaign: Campaign, outcome: Outcome | None = None) -> Path:
    """Write report.html, for an end if `outcome` is given."""
    write_decisions(campaign.state, campaign.journal.workdir)
    workdir = campaign.journal.workdir
    return _write(workdir, report_data(workdir, campaign.state, campaign.store, outcome))


def report_from(workdir: Path) -> Path:
    """Write report.html of a campaign that another process may be running.

    Raises one of `report_data.UNREADABLE`: StateError if there is no campaign in `workdir`,
    others where a file of it is missing or damaged.
    """
    with closing(CampaignState(workdir, read_only=True)) as state:
        store = LabelStore(workdir / "labels")
        data = report_data(workdir, state, store, outcome_of(state))
    return _write(workdir, data)


def _write(workdir: Path, data: ReportData) -> Path:
    """Write the report, and beside it how far gamma can be believed, as plain data."""
    from pyacemaker.report.render import write_report as write_report_file

    for check in reversed(data.checks):
        if "uncertainty" in check.series:
            found = {"iteration": check.iteration, "check": check.name}
            found |= check.series["uncertainty"]
            write_whole(workdir / UNCERTAINTY, json.dumps(found, indent=1) + "\n")
            break
    path = workdir / REPORT
    write_report_file(data, path)
    return path


def finish(campaign: Campaign, outcome: Outcome) -> None:
    """Write the report and the labelled data set of a campaign that has ended."""
    write_dataset(campaign)
    message = f"{outcome.ending}: {outcome.reason}"
    log = campaign.state.log_lines()
    if not log or log[-1].message != message:  # a finished campaign that is run again ends once
        campaign.journal.note(0, "end", message)
    write_report(campaign, outcome)


def write_dataset(campaign: Campaign) -> Path:
    """Write every label as extended XYZ, with its side of the split as `split`."""
    from ase.io.extxyz import write_extxyz

    found = entries(campaign.state)
    labels = read_labels(found, campaign.store, campaign.state)
    sides = split_of(found, labels, campaign.settings.seed)
    path = campaign.journal.workdir / DATA
    fresh = path.with_name(f".{DATA}")
    with fresh.open("w") as stream:
        for entry, label in zip(found, labels, strict=True):
            atoms = label.atoms.copy()
            atoms.calc = label.atoms.calc
            atoms.info = {
                "split": sides[entry.key],
                "iteration": entry.iteration,
                "label": entry.key,
                "provenance": json.dumps(label.atoms.info.get("provenance", {})),
            }
            write_extxyz(stream, [atoms])
    write_whole(path, fresh.read_bytes())
    fresh.unlink()
    return path
