"""The active-learning cycle, from the first structure to the certified potential.

    prepare     the reference structure, a converged cutoff, the isolated atoms, stable phases
    iterate     explore -> select -> label -> train -> validate -> MD or kMC under the watchdog
                a halt:    candidates round the halted frame are the next exploration
                a no-go:   structures of the failed property are
        a wrong barrier (kMC): the saddle point and the way up to it are
                no halt:   what the policy wants explored beyond the goal, while labels last;
                           then independent trajectories are labelled as a last test
    end         by convergence, or by budget; the potential that passed is deployed

Every step is done once and recorded when finished (`journal.Journal`), so the same
function starts a campaign and resumes one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyacemaker.campaign import (
    barriers,
    calibration,
    certify,
    deploy,
    exploration,
    explorers,
    extension,
    growing,
    importing,
    learning,
    preparation,
)
from pyacemaker.campaign.budget import BudgetSpentError, check_budget
from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.events import Listener, silent
from pyacemaker.campaign.journal import Journal
from pyacemaker.campaign.outcome import Ending, Outcome
from pyacemaker.campaign.parts import Parts
from pyacemaker.campaign.state import CampaignState, StateError
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.execution.base import Executor
from pyacemaker.files import locked
from pyacemaker.labels import LabelStore
from pyacemaker.process import StoppedError, allow_programs, stop_programs

_ROW_KEYS = ("key", "value", "unit", "source")


@dataclass
class Campaign:
    """What every step of a running campaign needs."""

    settings: CampaignSettings
    parts: Parts
    journal: Journal
    store: LabelStore
    executor: Executor
    report_due: float = 0.0  # on the monotonic clock

    @property
    def state(self) -> CampaignState:
        """The state file."""
        return self.journal.state


def run_campaign(
    settings: CampaignSettings,
    workdir: Path,
    parts: Parts,
    listener: Listener = silent,
    *,
    settings_rows: Sequence[Mapping[str, Any]] = (),
    retry_failed: bool = False,
) -> Outcome:
    """Run or resume the campaign in `workdir` until it ends, and return how.

    `settings_rows` (key, value, unit, source) are shown in the report. With `retry_failed`
    structures that could not be labelled in an earlier run are tried again.

    Raises
    ------
    CampaignError
        If it cannot go on; the message says why.
    AlreadyLockedError
        If another run works in `workdir`.
    StateError, CorruptFileError, CorruptLabelError
        If a file of the campaign is damaged; the message names it.
    KeyboardInterrupt
        After everything started has been stopped; the next run goes on.
    """
    allow_programs()
    workdir.mkdir(parents=True, exist_ok=True)
    with locked(workdir / ".lock", wait=False):
        state = CampaignState(workdir)
        try:
            preparation.remember_settings(state, settings)
            state.set_fact(
                "settings_rows",
                [{key: row[key] for key in _ROW_KEYS} for row in settings_rows],
            )
            state.set_fact("outcome", None)
            journal = Journal(workdir, state, settings.seed, listener)
            with parts.executor(settings.workers, workdir) as executor:
                store = LabelStore(workdir / "labels", remember=True)
                if retry_failed:
                    store.forget_failures()
                campaign = Campaign(settings, parts, journal, store, executor)
                try:
                    outcome = _run(campaign)
                except KeyboardInterrupt:
                    stop_programs()
                    raise
                except CampaignError as error:
                    failed = Outcome(Ending.FAILED, str(error))
                    _remember(state, failed)
                    deploy.finish(campaign, failed)
                    raise
                except (StateError, StoppedError):  # not to be written to, or not a failure
                    raise
                except Exception as error:
                    # The state must say that it failed, whatever it failed of: `status` would
                    # call it interrupted, and a script would start it again and again.
                    with contextlib.suppress(Exception):
                        _remember(state, Outcome(Ending.FAILED, str(error) or repr(error)))
                    raise
            _remember(state, outcome)
            return outcome
        finally:
            state.close()


def _remember(state: CampaignState, outcome: Outcome) -> None:
    state.set_fact("outcome", {"ending": outcome.ending, "reason": outcome.reason})


def _run(campaign: Campaign) -> Outcome:
    started = time.monotonic()
    last_good: tuple[int, dict[str, Any]] | None = None
    try:
        prepared = preparation.prepare(campaign)
        importing.take_imported(campaign, prepared)
        iteration = 0
        while True:
            iteration += 1
            check_budget(campaign, iteration, started)
            explored = exploration.explore(campaign, iteration, prepared)
            chosen = exploration.select(campaign, iteration, explored)
            exploration.label(campaign, iteration, chosen, prepared)
            fit = learning.train(campaign, iteration, prepared)
            verdict = learning.validate(campaign, iteration, prepared, fit)
            fit, verdict = growing.consider(campaign, iteration, prepared, fit, verdict)
            deploy.update_report(campaign)
            if not verdict["passed"]:
                continue
            last_good = (iteration, fit)
            fit = calibration.with_thresholds(campaign, iteration, fit)
            runs = explorers.run_all(campaign, iteration, prepared, fit)
            if not runs["completed"]:
                continue
            if not barriers.hold(campaign, iteration, prepared, fit, runs):
                deploy.update_report(campaign)
                continue
            if not extension.extend(campaign, iteration, prepared, fit)["completed"]:
                continue
            test = certify.certify(campaign, iteration, prepared, fit)
            deploy.update_report(campaign)
            if test["passed"]:
                outcome = Outcome(Ending.CONVERGED, test["reason"])
                break
    except BudgetSpentError as spent:
        if last_good is None:
            reason = f"{spent}; no potential passed validation, none is deployed"
        else:
            reason = f"{spent}; the potential of iteration {last_good[0]} passed validation"
        outcome = Outcome(Ending.BUDGET, reason)
    if last_good is not None:
        deploy.deploy(campaign, last_good[0], last_good[1], outcome)
    deploy.finish(campaign, outcome)
    return outcome
