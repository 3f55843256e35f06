"""What a campaign may spend: labels, hours, iterations."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyacemaker.campaign.entries import IMPORT_STEP, entries
from pyacemaker.campaign.errors import CampaignError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

_IDLE_ITERATIONS = 3
# No-gos in a row of the same gates, by potentials that agree with the oracle: labels do not help.
_SAME_NO_GOS = 6


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
    """Raise CampaignError if going on would only spend the budget.

    That is so when the last iterations have labelled nothing new, or when one potential after
    the other passes the test of its errors and fails the same gates of physics: then the
    oracle itself most likely finds the material unstable.
    """
    if stubborn := same_no_gos([r.result["checks"] for r in campaign.state.steps("validate")]):
        raise CampaignError(
            f"{_SAME_NO_GOS} potentials in a row agreed with the oracle on the test set and failed "
            f"{', '.join(stubborn)}: most likely the oracle itself finds "
            f"{campaign.settings.structure.name} unstable. Name a stable cell of the material "
            "(structure), or leave those gates out (validation.gates), in a new work directory; "
            "copy the folder 'labels' there to keep the labels"
        )
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


def same_no_gos(verdicts: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the gates that each of the last verdicts failed, if no others and no test did.

    `verdicts` holds the checks (name, passed) of each validation, oldest first.
    """
    last = verdicts[-_SAME_NO_GOS:]
    if len(last) < _SAME_NO_GOS:
        return []
    failed = [{check["name"] for check in checks if not check["passed"]} for checks in last]
    tested = all("test_error" in {check["name"] for check in checks} for checks in last)
    about_errors = {"test_error", "consistency"}
    if (
        not tested
        or not failed[0]
        or failed[0] & about_errors
        or any(f != failed[0] for f in failed)
    ):
        return []
    return sorted(failed[0])
