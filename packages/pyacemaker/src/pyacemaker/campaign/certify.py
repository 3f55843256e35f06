"""The last test: trajectories the campaign has never learnt from, labelled and compared.

Fresh crystals, fresh velocities, the same watchdog. Their last frames are labelled and
go to the test side for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyacemaker.campaign import explorers
from pyacemaker.campaign.budget import BudgetSpentError, labels_left
from pyacemaker.campaign.dataset import TEST, load
from pyacemaker.campaign.exploration import label_structures
from pyacemaker.campaign.learning import save_checks
from pyacemaker.potential import Potential
from pyacemaker.provenance import tag

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared


def certify(
    campaign: Campaign, iteration: int, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    """Run independent trajectories, label their ends, and test the potential on them."""
    runs = explorers.explored(campaign, iteration, prepared, fit, "certify_md", independent=True)
    if any(run["status"] != "completed" for run in runs["runs"]):
        return {"passed": False, "reason": "an independent trajectory halted"}
    _label_ends(campaign, iteration, prepared, runs)
    return _test(campaign, iteration, prepared, fit)


def _label_ends(
    campaign: Campaign, iteration: int, prepared: Prepared, runs: dict[str, Any]
) -> None:
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        frames = []
        for index, run in enumerate(runs["runs"]):
            ends = journal.load(run["frame"])
            if "saddles" in run:
                most = campaign.settings.convergence.test_frames_per_temperature
                ends += journal.load(run["saddles"])[:most]
            group = f"certify-{iteration:03d}-{index:02d}"
            for frame in ends:
                frame.set_constraint()
                tag(frame, "certification", group, temperature_K=run["temperature_K"])
            frames += ends
        left = labels_left(campaign)
        if left < len(frames):
            raise BudgetSpentError(
                f"the budget of {campaign.settings.budget.labels} labels leaves {left} of the "
                f"{len(frames)} that the last test needs"
            )
        roles = [TEST] * len(frames)
        return label_structures(campaign, iteration, "certify", frames, roles, prepared)

    journal.step(iteration, "certify", work)


def _test(
    campaign: Campaign, iteration: int, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        dataset = load(campaign.state, campaign.store, campaign.settings.seed)
        calculator = Potential.load(journal.workdir / fit["potential"]).calculator()
        check = campaign.parts.test_check.run(calculator, prepared.reference, dataset.test)
        reason = check.reason
        if check.passed:
            reason += "; " + " and ".join(_held(campaign)) + " without a halt"
        journal.note(iteration, "certificate", f"{'go' if check.passed else 'NO-GO'}: {reason}")
        saved = save_checks(campaign, iteration, "certificate", [check])
        return {"passed": check.passed, "reason": reason, **saved}

    return journal.step(iteration, "certificate", work)


def _held(campaign: Campaign) -> list[str]:
    """Say what the potential has held through, one phrase for each explorer."""
    dynamics, walk = campaign.settings.dynamics, campaign.settings.kmc
    said = []
    if "md" in dynamics.explorers:
        length = dynamics.steps * dynamics.timestep_fs / 1000
        temperatures = ", ".join(f"{value:.0f}" for value in dynamics.temperatures_K)
        said.append(f"{length:g} ps of MD at each of {temperatures} K")
    if walk is not None and "kmc" in dynamics.explorers:
        said.append(f"{walk.events} hops of kinetic Monte Carlo at {walk.temperature_K:.0f} K")
    return said
