"""Growth of the networks, where the trainer's can grow: only when capacity is what is missing.

After a fit and its verdict the trainer says what limits the potential. Limited by capacity, it
grows, is trained, and goes through every gate; a growth that fails one which held before, or
makes the validation error no smaller, is rolled back: the potential before it stays. A gate that
failed before may still fail, for one growth need not be enough; the campaign goes on as after any
failure, and may grow again. Limited by data, it goes on and labels more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyacemaker.campaign import learning
from pyacemaker.campaign.dataset import load
from pyacemaker.campaign.fits import GROW
from pyacemaker.campaign.state import CampaignState
from pyacemaker.trainer.base import GrowingTrainer, TrainerError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared


def consider(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    verdict: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fit to go on with and its verdict: the grown one's, if growth was kept."""
    trainer = campaign.parts.growing
    if trainer is None:
        return fit, verdict
    journal = campaign.journal

    def work(rng: np.random.Generator) -> dict[str, Any]:
        found = trainer.diagnose(fit["metrics"], complaints(campaign.state, iteration, verdict))
        said = {
            "capacity": "limited by capacity, it grows",
            "data": "limited by data, it asks for labels",
            "unfinished": "not trained to the end yet, it does not grow",
            "enough": "nothing to grow for",
        }[found.kind]
        journal.note(iteration, GROW, f"{said}: {found.reason}")
        result = {"kind": found.kind, "reason": found.reason, "accepted": False}
        if found.kind != "capacity":
            return result
        return result | _grow(campaign, trainer, iteration, prepared, fit, verdict, rng)

    grown = journal.step(iteration, GROW, work)
    return (grown["fit"], grown["verdict"]) if grown["accepted"] else (fit, verdict)


def _grow(
    campaign: Campaign,
    trainer: GrowingTrainer,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    verdict: dict[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any]:
    journal = campaign.journal
    journal.checked(fit["manifest"])
    dataset = load(campaign.state, campaign.store, campaign.settings.seed)
    try:
        done = trainer.grow(
            journal.workdir / fit["potential"],
            dataset.train,
            dataset.validation,
            prepared.reference_energies,
            journal.folder(iteration) / "potential_grown",
            rng,
        )
    except TrainerError as error:
        journal.note(iteration, GROW, f"not grown: {error}")
        return {"accepted": False, "why_not": str(error)}
    grown = learning.describe(campaign, done, fit["sizes"])
    judged = learning.judge(campaign, iteration, GROW, prepared, grown)
    before, after = (f["metrics"]["validation"]["force_rmse"] for f in (fit, grown))
    told = f"{done.metrics['growth']['way']}, {grown['metrics']['parameters']} parameters"
    why_not = _objection(_failed(verdict), _failed(judged), before, after)
    outcome = f"rolled back: {why_not}" if why_not else "kept"
    journal.note(
        iteration,
        GROW,
        f"grew by {told}; force error on the validation set {1e3 * before:.4g} -> "
        f"{1e3 * after:.4g} meV/angstrom; {outcome}",
    )
    return {"accepted": not why_not, "why_not": why_not, "fit": grown, "verdict": judged}


def _failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def _objection(failed: list[str], fails: list[str], before: float, after: float) -> str:
    """Return why a growth is rolled back, "" if it is kept.

    `failed` and `fails` are the gates before and after it, `before` and `after` the force errors
    on the validation set. What passes every gate where one failed is kept whatever its error.
    """
    if lost := [name for name in fails if name not in failed]:
        return f"it fails {', '.join(lost)}"
    if failed and not fails:
        return ""
    return "" if after < before else "it is not better"


def complaints(state: CampaignState, iteration: int, verdict: dict[str, Any]) -> list[str]:
    """Return what is still wrong where labels have been added for it before.

    A temperature whose last two runs halted on gamma: the region of the first halt was labelled
    before the second. A gate that fails now and failed the iteration before: its structures
    were labelled in between (no MD is run where a gate fails, so gamma cannot tell there).
    """
    found = []
    runs = [record.result["runs"] for record in state.steps("md") if record.iteration < iteration]
    if len(runs) >= 2:
        halted = [
            {run["temperature_K"] for run in one if run["status"] == "halted"} for one in runs[-2:]
        ]
        found += [
            f"gamma halted again at {kelvin:.0f} K" for kelvin in sorted(halted[0] & halted[1])
        ]
    before = state.result(iteration - 1, "validate")
    if not verdict["passed"] and before is not None:
        failed = [
            {check["name"] for check in one["checks"] if not check["passed"]}
            for one in (before, verdict)
        ]
        found += [f"the gate {name} failed again" for name in sorted(failed[0] & failed[1])]
    return found
