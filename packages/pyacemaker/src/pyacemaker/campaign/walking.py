"""Kinetic Monte Carlo with a validated potential, under the watchdog on gamma.

One walk goes on through the whole campaign. It halts where a saddle search meets a
structure the potential does not know; that structure is learnt from, and the walk goes on
from its saved state table with the retrained potential, which checks every barrier again
as the walk comes to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.explored import Explored, Stage
from pyacemaker.campaign.simulation import crystal
from pyacemaker.dynamics.kmc.base import KMCEngine, KMCRequest, KMCResult
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.files import sha256_of
from pyacemaker.potential import Potential
from pyacemaker.potential.manifest import MANIFEST

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign


@dataclass(frozen=True)
class KMCTask:
    """One walk, to be done by a worker. See `campaign.explorers.Task`."""

    engine: KMCEngine
    start: Atoms
    potential: Path
    settings: KMCSettings
    gamma_halt: float
    seed: int
    table: Path | None
    timeout_s: float | None
    workdir: Path

    def work(self) -> Explored:
        """Walk. Raises DynamicsError, TableError."""
        from pyacemaker.dynamics.kmc.landscape import Landscape

        # made in the worker: a calculator of python-ace is not shared between threads
        calculator = Potential.load(self.potential).calculator()
        landscape = Landscape(calculator, sha256_of(self.potential / MANIFEST), self.gamma_halt)
        request = KMCRequest(
            self.start, landscape, self.settings, self.seed, self.table, self.timeout_s
        )
        result = self.engine.run(request, self.workdir, lambda done, total, told: None)
        return Explored(_record(self, result), result.frame, {"table": result.table})


def kmc_tasks(campaign: Campaign, stage: Stage) -> list[KMCTask]:
    """Return the walk; an independent one starts anew, with searches of its own."""
    settings = campaign.settings
    assert settings.kmc is not None  # noqa: S101 - resolved wherever kmc explores
    task = KMCTask(
        engine=campaign.parts.kmc,
        start=_start(campaign, stage),
        potential=campaign.journal.workdir / stage.fit["potential"],
        settings=settings.kmc,
        # a barrier is no better than the forces on the way up to it
        gamma_halt=settings.kmc.gamma_halt
        or stage.fit.get("gamma_select", settings.dynamics.gamma_select),
        # the walk of a campaign is one: its draws must not change with the iteration
        seed=int(stage.rng.integers(1, 2**31 - 1)) if stage.independent else settings.seed,
        table=None if stage.independent else _saved_table(campaign, stage.iteration),
        timeout_s=settings.dynamics.timeout_s,
        workdir=stage.folder / f"kmc_{settings.kmc.temperature_K:.0f}K",
    )
    return [task]


def _start(campaign: Campaign, stage: Stage) -> Atoms:
    """Return the structure the walk begins with: the user's, or a crystal with a vacancy."""
    given = campaign.settings.kmc_start
    if given is not None:
        return given.atoms()
    atoms = crystal(campaign, stage.prepared, stage.fit)
    centre = atoms.cell.sum(axis=0) / 2
    del atoms[int(np.argmin(np.linalg.norm(atoms.positions - centre, axis=1)))]
    return atoms


def _saved_table(campaign: Campaign, iteration: int) -> Path | None:
    before = [
        run["table"]
        for record in campaign.state.steps("md")
        if record.iteration < iteration
        for run in record.result["runs"]
        if run.get("kind") == "kmc"
    ]
    return campaign.journal.checked(before[-1]) if before else None


def _record(task: KMCTask, result: KMCResult) -> dict[str, Any]:
    """Return what the state keeps of a walk."""
    from pyacemaker.dynamics.kmc.summary import summary_of

    summary = summary_of(result, task.settings)
    text = (
        f"kMC at {task.settings.temperature_K:.0f} K: {result.status} after "
        f"{summary['hops_done']} of {task.settings.events} hops "
        f"({result.time_s:.3g} s on its clock), {len(result.states)} states, "
        f"{len(summary['processes'])} mechanisms from {len(result.searches)} searches"
    )
    if result.message:
        text += f" ({result.message})"
    for warning in result.warnings:
        text += f"; {warning}"
    return {
        "kind": "kmc",
        "temperature_K": task.settings.temperature_K,
        "status": result.status,
        "message": result.message,
        "engine": result.engine,
        "gamma_halt": task.gamma_halt,
        "wall_s": result.wall_s,
        "warnings": list(result.warnings),
        "told": text,
        **summary,
    }
