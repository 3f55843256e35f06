"""How a campaign can end, and the exit code that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyacemaker.campaign.state import CampaignState


class Ending(StrEnum):
    """What a campaign came to."""

    CONVERGED = "converged"
    BUDGET = "budget"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


EXIT_CODES = {
    Ending.CONVERGED: 0,
    Ending.FAILED: 1,
    # 2 is bad usage: a wrong option, a configuration that is refused, a directory in use
    Ending.BUDGET: 3,
    Ending.INTERRUPTED: 130,
}
EXIT_USAGE = 2


@dataclass(frozen=True)
class Outcome:
    """The end of a campaign and why, in one sentence."""

    ending: Ending
    reason: str

    @property
    def exit_code(self) -> int:
        """The exit code of the command line."""
        return EXIT_CODES[self.ending]


def outcome_of(state: CampaignState) -> Outcome | None:
    """Return how a campaign ended, None while it has not."""
    found = state.fact("outcome")
    return Outcome(Ending(found["ending"]), found["reason"]) if found else None
