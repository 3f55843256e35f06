"""Molecular dynamics with a validated potential, under the watchdog on gamma.

Each temperature has one trajectory that goes on through the whole campaign: a run that
halted goes on from the halted frame, with its momenta, as soon as the retrained
potential has passed validation. The potential holds when every temperature completes
the full stated length with it and none halts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign.errors import CampaignError
from pyacemaker.dynamics.base import Dynamics, DynamicsError, MDRequest, MDResult
from pyacemaker.generator.distort import supercell
from pyacemaker.potential import Potential
from pyacemaker.validator.relax import relax

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

# A trajectory that halts this often without having made a step is stuck in a state the
# potential cannot learn; it starts again from the crystal with new velocities.
_STUCK_AFTER = 3


@dataclass(frozen=True)
class _Task:
    dynamics: Dynamics
    request: MDRequest
    workdir: Path


def _simulate(task: _Task) -> MDResult:
    return task.dynamics.run(task.request, task.workdir)


def run_all(
    campaign: Campaign, iteration: int, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    """Run every temperature; the result lists the runs and the halted frames."""

    def work(rng: np.random.Generator) -> dict[str, Any]:
        start = crystal(campaign, prepared, fit)
        requests = []
        for temperature in campaign.settings.dynamics.temperatures_K:
            seed = int(rng.integers(1, 2**31 - 1))
            frame = _last_frame(campaign, iteration, temperature)
            request = request_at(campaign, fit, start, temperature, seed)
            requests.append(request if frame is None else replace(request, atoms=frame))
        return simulate(campaign, iteration, "md", requests)

    result = campaign.journal.step(iteration, "md", work)
    return {**result, "completed": all(run["status"] == "completed" for run in result["runs"])}


def crystal(campaign: Campaign, prepared: Prepared, fit: dict[str, Any]) -> Atoms:
    """Return the MD cell: the reference crystal relaxed with the potential, repeated."""
    potential = Potential.load(campaign.journal.workdir / fit["potential"])
    relaxed = relax(prepared.reference, potential.calculator())
    return supercell(relaxed.atoms, campaign.settings.dynamics.atoms)


def request_at(
    campaign: Campaign, fit: dict[str, Any], atoms: Atoms, temperature: float, seed: int
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


def simulate(
    campaign: Campaign,
    iteration: int,
    name: str,
    requests: list[MDRequest],
    engines: Sequence[Dynamics] = (),
) -> dict[str, Any]:
    """Run `requests` in parallel; frames and traces are kept in the iteration's folder.

    `engines` are one for each request; by default the campaign's own runs them all.
    """
    journal = campaign.journal
    folder = journal.folder(iteration) / name
    tasks = [
        _Task(
            engines[index] if engines else campaign.parts.dynamics,
            request,
            folder / f"{index:02d}_{request.temperature_K[0]:.0f}K",
        )
        for index, request in enumerate(requests)
    ]
    results: dict[int, MDResult] = {}
    for outcome in campaign.executor.map_unordered(_simulate, tasks):
        if isinstance(outcome.error, DynamicsError):
            raise CampaignError(str(outcome.error)) from outcome.error
        if outcome.value is None:
            raise outcome.error or RuntimeError("a run of MD returned nothing")
        results[outcome.index] = outcome.value
        journal.progress(len(results), len(tasks))
    runs = []
    for index, task in enumerate(tasks):
        result = results[index]
        path = task.workdir / "last_frame.json"
        request = task.request
        run = {
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
            "frame": journal.save(path, [result.frame]),
        }
        runs.append(run)
        journal.note(iteration, name, _say(run))
    return {"runs": runs}


def halted_frames(campaign: Campaign, iteration: int) -> list[tuple[str, Atoms]]:
    """Return name and frame of every run of `iteration` that did not complete."""
    found = []
    for name in ("md", "extend", "certify_md"):
        result = campaign.state.result(iteration, name)
        for index, run in enumerate(result["runs"] if result else []):
            if run["status"] != "completed":
                (frame,) = campaign.journal.load(run["frame"])
                where = f"{name}-{iteration:03d}-{index:02d}-{run['temperature_K']:.0f}K"
                found.append((where, frame))
    return found


def _last_frame(campaign: Campaign, iteration: int, temperature: float) -> Atoms | None:
    """Return the frame the trajectory of this temperature goes on from, None for the crystal."""
    history = []
    for record in campaign.state.steps("md"):
        if record.iteration < iteration:
            history += [r for r in record.result["runs"] if r["temperature_K"] == temperature]
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
