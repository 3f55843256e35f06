"""Which potential an iteration ended with: the fit, or what grew from it."""

from __future__ import annotations

from typing import Any

from pyacemaker.campaign.state import CampaignState

GROW = "grow"


def current(state: CampaignState, iteration: int) -> dict[str, Any] | None:
    """Return the fit an iteration ended with, grown or not; None where there is none."""
    grown = state.result(iteration, GROW)
    if grown is not None and grown["accepted"]:
        fit: dict[str, Any] = grown["fit"]
        return fit
    return state.result(iteration, "train")


def verdict_of(state: CampaignState, iteration: int) -> dict[str, Any] | None:
    """Return what the gates said of that fit."""
    grown = state.result(iteration, GROW)
    if grown is not None and grown["accepted"]:
        verdict: dict[str, Any] = grown["verdict"]
        return verdict
    return state.result(iteration, "validate")
