"""What a campaign may spend: labels, hours, iterations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyacemaker.campaign.dataset import IMPORT_STEP, entries
from pyacemaker.campaign.errors import CampaignError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

_IDLE_ITERATIONS = 3


class BudgetSpentError(Exception):
    """The budget is spent; the message says which."""


def labels_spent(campaign: Campaign) -> int:
    """Return the number of labels the campaign has asked for and got, or failed to get."""
    failed = {key for record in campaign.state.steps() for key in record.result.get("failures", ())}
    made = {entry.key for entry in entries(campaign.state) if entry.step != IMPORT_STEP}
    return len(made | failed)


def labels_left(campaign: Campaign) -> int:
    """Return how many more labels may be asked for."""
    return max(0, campaign.settings.budget.labels - labels_spent(campaign))


def hours_spent(campaign: Campaign) -> float:
    """Return the hours that finished steps took, over all runs of the campaign."""
    return sum(record.wall_s for record in campaign.state.steps()) / 3600


def check_budget(campaign: Campaign, iteration: int, started: float) -> None:
    """Raise BudgetSpentError if `iteration` must not begin.

    An iteration that has begun is finished, and one that is only read back is not asked:
    a campaign that is resumed comes to the same point whatever the clock says.
    `started` is the time.monotonic() of this run.
    """
    if campaign.state.result(iteration, "explore") is not None:
        return
    _check_progress(campaign)
    budget = campaign.settings.budget
    spent = labels_spent(campaign)
    if spent >= budget.labels:
        raise BudgetSpentError(f"the budget of {budget.labels} labels is spent ({spent} made)")
    if budget.max_iterations is not None and iteration > budget.max_iterations:
        raise BudgetSpentError(f"the budget of {budget.max_iterations} iterations is spent")
    hours = max(hours_spent(campaign), (time.monotonic() - started) / 3600)
    if budget.hours is not None and hours >= budget.hours:
        raise BudgetSpentError(f"the budget of {budget.hours:g} hours is spent ({hours:.2f} used)")


def _check_progress(campaign: Campaign) -> None:
    """Raise CampaignError if the last iterations have not labelled anything new."""
    seen: set[str] = set()
    idle = 0
    for record in campaign.state.steps("label"):
        new = {key for key in record.result["keys"] if key is not None} - seen
        seen |= new
        idle = 0 if new else idle + 1
    if idle >= _IDLE_ITERATIONS:
        raise CampaignError(
            f"{idle} iterations found nothing new to label and the potential still does not pass. "
            "Look at report.html for the gate or the run that fails; a larger basis "
            "(trainer.functions_per_element), larger cells (budget.max_atoms) or a lower "
            "temperature may help"
        )
