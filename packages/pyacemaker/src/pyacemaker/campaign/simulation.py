"""Molecular dynamics with a validated potential, under the watchdog on gamma.

Each temperature has one trajectory that goes on through the whole campaign: a run that
halted goes on from the halted frame, with its momenta, as soon as the retrained
potential has passed validation. The potential holds when every temperature completes
the full stated length with it and none halts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from pyacemaker.campaign.explored import Explored, Stage
from pyacemaker.dynamics.base import Dynamics, MDRequest, MDResult
from pyacemaker.potential import Potential

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

# A trajectory that halts this often without having made a step is stuck in a state the
# potential cannot learn; it starts again from the crystal with new velocities.
_STUCK_AFTER = 3


@dataclass(frozen=True)
class MDTask:
    """One run of MD, to be done by a worker. See `campaign.explorers.Task`."""

    dynamics: Dynamics
    request: MDRequest
    workdir: Path

    def work(self) -> Explored:
        """Run it. Raises DynamicsError."""
        result = self.dynamics.run(self.request, self.workdir)
        return Explored(_record(self.request, result), result.frame)


def md_tasks(campaign: Campaign, stage: Stage) -> list[MDTask]:
    """Return a run at every temperature; where `stage` asks for it, several and independent."""
    dynamics = campaign.settings.dynamics
    start = crystal(campaign, stage.prepared, stage.fit)
    repeats = campaign.settings.convergence.test_frames_per_temperature if stage.independent else 1
    tasks: list[MDTask] = []
    for temperature in dynamics.temperatures_K:
        for _ in range(repeats):
            seed = int(stage.rng.integers(1, 2**31 - 1))
            request = request_at(campaign, stage.fit, start, temperature, seed)
            frame = None
            if not stage.independent:
                frame = _last_frame(campaign, stage.iteration, temperature)
            if frame is not None:
                request = replace(request, atoms=frame)
            name = f"{len(tasks):02d}_{temperature:.0f}K"
            tasks.append(MDTask(campaign.parts.dynamics, request, stage.folder / name))
    return tasks


def crystal(campaign: Campaign, prepared: Prepared, fit: Mapping[str, Any]) -> Atoms:
    """Return the MD cell: the reference crystal relaxed with the potential, repeated."""
    from pyacemaker.generator.distort import supercell
    from pyacemaker.validator.relax import relax

    potential = Potential.load(campaign.journal.workdir / fit["potential"])
    relaxed = relax(prepared.reference, potential.calculator())
    return supercell(relaxed.atoms, campaign.settings.dynamics.atoms)


def request_at(
    campaign: Campaign, fit: Mapping[str, Any], atoms: Atoms, temperature: float, seed: int
) -> MDRequest:
    """Return the stated length of MD at one temperature (K)."""
    dynamics = campaign.settings.dynamics
    return MDRequest(
        atoms=atoms,
        potential=campaign.journal.workdir / fit["potential"],
        temperature_K=(temperature, temperature),
        steps=dynamics.steps,
        timestep_fs=dynamics.timestep_fs,
        gamma_halt=fit.get("gamma_halt", dynamics.gamma_halt),
        check_every=dynamics.check_every,
        pressure_GPa=dynamics.pressure_GPa,
        seed=seed,
        timeout_s=dynamics.timeout_s,
    )


def _record(request: MDRequest, result: MDResult) -> dict[str, Any]:
    """Return what the state keeps of a run."""
    run = {
        "kind": "md",
        "temperature_K": request.temperature_K[0],
        "pressure_GPa": request.pressure_GPa,
        "status": result.status,
        "message": result.message,
        "engine": result.engine,
        "steps": request.steps,
        "steps_done": result.steps_done,
        "timestep_fs": request.timestep_fs,
        "gamma_halt": request.gamma_halt,
        "wall_s": result.wall_s,
        "warnings": list(result.warnings),
        "trace": [
            [sample.time_fs, sample.temperature_K, sample.gamma_max] for sample in result.trace
        ],
    }
    return {**run, "told": _say(run)}


def _last_frame(campaign: Campaign, iteration: int, temperature: float) -> Atoms | None:
    """Return the frame the trajectory of this temperature goes on from, None for the crystal."""
    history = []
    for record in campaign.state.steps("md"):
        if record.iteration < iteration:
            history += [
                run
                for run in record.result["runs"]
                if run.get("kind", "md") == "md" and run["temperature_K"] == temperature
            ]
    if not history or history[-1]["status"] == "failed":
        return None
    recent = history[-_STUCK_AFTER:]
    if len(recent) == _STUCK_AFTER and all(
        run["status"] == "halted" and run["steps_done"] == 0 for run in recent
    ):
        campaign.journal.note(
            iteration,
            "md",
            f"{temperature:.0f} K halted {_STUCK_AFTER} times before its first step; "
            "it starts again from the crystal",
        )
        return None
    (frame,) = campaign.journal.load(history[-1]["frame"])
    return frame


def _say(run: dict[str, Any]) -> str:
    made = run["steps_done"] * run["timestep_fs"] / 1000
    asked = run["steps"] * run["timestep_fs"] / 1000
    highest = max((sample[2] for sample in run["trace"]), default=float("nan"))
    text = f"{run['temperature_K']:.0f} K: {run['status']} after {made:.2f} of {asked:.2f} ps"
    text += f", highest gamma {highest:.2f}"
    return f"{text} ({run['message']})" if run["message"] else text
