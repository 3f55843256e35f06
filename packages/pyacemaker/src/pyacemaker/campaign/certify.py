"""The last test: trajectories the campaign has never learnt from, labelled and compared.

Fresh crystals, fresh velocities, the same watchdog. Their last frames are labelled and
go to the test side for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyacemaker.campaign import barriers, explorers
from pyacemaker.campaign.budget import BudgetSpentError, labels_left
from pyacemaker.campaign.dataset import TEST, load
from pyacemaker.campaign.labelling import label_structures
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
    asked = barriers.processes_of(
        campaign, fit, runs, f"certify-{iteration:03d}-barriers", campaign.settings.budget.labels
    )
    labelled = _label_ends(campaign, iteration, prepared, runs, asked)
    of_barriers = labelled["keys"][len(labelled["keys"]) - len(asked.structures) :]
    return _test(campaign, iteration, prepared, fit, asked, of_barriers)


def _label_ends(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    runs: dict[str, Any],
    asked: barriers.Processes,
) -> dict[str, Any]:
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        frames = []
        for index, run in enumerate(runs["runs"]):
            ends = journal.load(run["frame"])
            group = f"certify-{iteration:03d}-{index:02d}"
            for frame in ends:
                frame.set_constraint()
                tag(frame, "certification", group, temperature_K=run["temperature_K"])
            frames += ends
        frames += asked.structures
        left = labels_left(campaign)
        if left < len(frames):
            raise BudgetSpentError(
                f"the budget of {campaign.settings.budget.labels} labels leaves {left} of the "
                f"{len(frames)} that the last test needs"
            )
        roles = [TEST] * len(frames)
        return label_structures(campaign, iteration, "certify", frames, roles, prepared)

    return journal.step(iteration, "certify", work)


def _test(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    asked: barriers.Processes,
    of_barriers: Sequence[str | None],
) -> dict[str, Any]:
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        dataset = load(campaign.state, campaign.store, campaign.settings.seed)
        calculator = Potential.load(journal.workdir / fit["potential"]).calculator()
        checks = [campaign.parts.test_check.run(calculator, prepared.reference, dataset.test)]
        if asked.found:
            checks.append(barriers.judged(campaign, asked, of_barriers, barriers.INDEPENDENT))
        passed = all(check.passed for check in checks)
        reason = "; ".join(check.reason for check in checks)
        if passed:
            reason += "; " + " and ".join(_held(campaign)) + " without a halt"
        journal.note(iteration, "certificate", f"{'go' if passed else 'NO-GO'}: {reason}")
        saved = save_checks(campaign, iteration, "certificate", checks)
        return {"passed": passed, "reason": reason, **saved}

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
