"""Explore with a potential that passed validation: by MD, by kinetic Monte Carlo, or both.

What is run is `dynamics.explorers` of the settings. All are treated alike: a run that halts
on gamma hands over its frame to the next cycle; the potential holds when all complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.explored import Explored, Explorer, Stage, Task
from pyacemaker.campaign.simulation import md_tasks
from pyacemaker.campaign.walking import kmc_tasks
from pyacemaker.dynamics.base import DynamicsError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

EXPLORERS: Mapping[str, Explorer] = {"md": md_tasks, "kmc": kmc_tasks}


def _work(task: Task) -> Explored:
    return task.work()


def run_all(
    campaign: Campaign, iteration: int, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    """Run every explorer; the result lists the runs and the frames they ended at."""
    result = explored(campaign, iteration, prepared, fit, "md", independent=False)
    return {**result, "completed": all(run["status"] == "completed" for run in result["runs"])}


def explored(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    name: str,
    *,
    independent: bool,
) -> dict[str, Any]:
    """Run the explorers as the step `name`, in parallel. See `explored.Stage`."""
    journal = campaign.journal

    def work(rng: np.random.Generator) -> dict[str, Any]:
        folder = journal.folder(iteration) / name
        stage = Stage(iteration, prepared, fit, folder, rng, independent)
        tasks = [
            task
            for kind in campaign.settings.dynamics.explorers
            for task in EXPLORERS[kind](campaign, stage)
        ]
        return run_tasks(campaign, iteration, name, tasks)

    return journal.step(iteration, name, work)


def run_tasks(
    campaign: Campaign, iteration: int, name: str, tasks: Sequence[Task]
) -> dict[str, Any]:
    """Run tasks in parallel, inside the step `name`; what they leave is kept in their folders.

    Raises CampaignError where an engine cannot run at all.
    """
    done: dict[int, Explored] = {}
    for outcome in campaign.executor.map_unordered(_work, tasks):
        if isinstance(outcome.error, DynamicsError):
            raise CampaignError(str(outcome.error)) from outcome.error
        if outcome.value is None:
            raise outcome.error or RuntimeError("an explorer returned nothing")
        done[outcome.index] = outcome.value
        campaign.journal.progress(len(done), len(tasks))
    runs = [_kept(campaign, task.workdir, done[index]) for index, task in enumerate(tasks)]
    for run in runs:
        campaign.journal.note(iteration, name, run.pop("told"))
    return {"runs": runs}


def _kept(campaign: Campaign, folder: Path, ended: Explored) -> dict[str, Any]:
    journal = campaign.journal
    run = {**ended.record, "frame": journal.save(folder / "last_frame.json", [ended.frame])}
    return run | {name: journal.reference(path) for name, path in ended.files.items()}


def halted_frames(campaign: Campaign, iteration: int) -> list[tuple[str, Atoms]]:
    """Return name and frame of every run of `iteration` that did not complete."""
    found = []
    for name in ("md", "extend", "certify_md"):
        result = campaign.state.result(iteration, name)
        for index, run in enumerate(result["runs"] if result else []):
            if run["status"] != "completed":
                (frame,) = campaign.journal.load(run["frame"])
                kind = name if run.get("kind", "md") == "md" else name.replace("md", run["kind"])
                where = f"{kind}-{iteration:03d}-{index:02d}-{run['temperature_K']:.0f}K"
                found.append((where, frame))
    return found
