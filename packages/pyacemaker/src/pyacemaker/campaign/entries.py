"""Which labels a campaign has asked for, in order, from its state file alone."""

from __future__ import annotations

from dataclasses import dataclass

from pyacemaker.campaign.state import CampaignState

# Steps whose result lists labels, in the order in which an iteration makes them.
COMPARE_STEP, IMPORT_STEP, PHASES_STEP = "compare", "imported", "phases"
BARRIERS_STEP = "barriers"
LABEL_STEPS = ("label", BARRIERS_STEP, "certify", COMPARE_STEP, IMPORT_STEP, PHASES_STEP)


@dataclass(frozen=True)
class Entry:
    """A label's place in the campaign. `role` is train or test where pinned, else free."""

    key: str
    iteration: int
    step: str
    role: str


def entries(state: CampaignState) -> list[Entry]:
    """Return the campaign's labels in the order they were asked for, each key once."""
    seen: dict[str, Entry] = {}
    for record in state.steps():
        if record.name not in LABEL_STEPS:
            continue
        for key, role in zip(record.result["keys"], record.result["roles"], strict=True):
            if key is not None:
                seen.setdefault(key, Entry(key, record.iteration, record.name, role))
    return list(seen.values())
