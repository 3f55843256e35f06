"""The decisions of a campaign as JSON lines: what was decided, and why, in words.

They are part of the results of the steps that took them, so that a resumed campaign has the
same; the file `decisions.jsonl` is written from the state, whole, and can be made anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyacemaker.campaign.state import CampaignState
from pyacemaker.files import write_whole

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

FILE_NAME = "decisions.jsonl"
_OPEN = "decided_without_a_step"


def decisions_of(state: CampaignState) -> list[dict[str, Any]]:
    """Return every decision in the order in which its step finished.

    Each has `iteration`, `step`, `what` and `why`, and what else belongs to it.
    """
    found = [
        {"iteration": record.iteration, "step": record.name, **decision}
        for record in state.steps()
        for decision in record.result.get("decisions", [])
    ]
    return found + (state.fact(_OPEN) or [])


def decide_without_step(
    campaign: Campaign, iteration: int, step: str, decision: dict[str, Any]
) -> None:
    """Keep a decision to do nothing, once: it leaves no step behind."""
    known = campaign.state.fact(_OPEN) or []
    if any(found["iteration"] == iteration and found["step"] == step for found in known):
        return
    campaign.state.set_fact(_OPEN, [*known, {"iteration": iteration, "step": step, **decision}])
    campaign.journal.note(iteration, step, f"{decision['what']}: {decision['why']}")
    write_decisions(campaign.state, campaign.journal.workdir)


def write_decisions(state: CampaignState, workdir: Path) -> Path:
    """Write `decisions.jsonl`, whole."""
    path = workdir / FILE_NAME
    lines = [json.dumps(decision, sort_keys=True) for decision in decisions_of(state)]
    write_whole(path, "".join(f"{line}\n" for line in lines))
    return path
