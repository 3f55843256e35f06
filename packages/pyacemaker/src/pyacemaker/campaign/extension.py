"""Beyond the goal: explorations that the policy chooses once every stated temperature holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign import explorers, simulation
from pyacemaker.campaign.budget import labels_spent
from pyacemaker.campaign.decisions import decide_without_step, write_decisions
from pyacemaker.campaign.policy import Decision, Exploration, Past, Situation, decide, material_of
from pyacemaker.config.physics import guess_metallic
from pyacemaker.dynamics.base import Dynamics, MDRequest
from pyacemaker.oracle.settings import ASESettings, RootstockSettings
from pyacemaker.potential import Potential
from pyacemaker.validator.evaluation import PotentialError

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

STEP = "extend"
_SHEAR = 0.03
# Of the bulk modulus: a compression of about 3 %, well inside of what was labelled.
_PRESSURE_OF_B0 = 0.03
_SWAP_STEPS = 200


def extend(
    campaign: Campaign, iteration: int, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    """Explore what the policy says; `completed` is false where something halted."""
    journal = campaign.journal
    done = campaign.state.result(iteration, STEP)
    if done is None:
        if campaign.settings.dynamics.explore == "goal":
            return {"completed": True}
        if campaign.state.result(iteration, "certify_md") is not None:
            return {"completed": True}  # it was decided before to go on to the last test
        decision = _decide(campaign, iteration, prepared)
        if not decision.explorations:
            decide_without_step(campaign, iteration, STEP, decision.as_dict())
            return {"completed": True}

        def work(rng: np.random.Generator) -> dict[str, Any]:
            journal.note(iteration, STEP, f"{decision.what}: {decision.why}")
            return _explore(campaign, iteration, prepared, fit, decision, rng)

        done = journal.step(iteration, STEP, work)
        write_decisions(campaign.state, journal.workdir)
    return {"completed": all(run["status"] == "completed" for run in done["runs"])}


def _decide(campaign: Campaign, iteration: int, prepared: Prepared) -> Decision:
    from pyacemaker.generator.volumes import is_metal

    settings = campaign.settings
    metals = all(is_metal(element) for element in settings.elements)
    material = material_of(
        settings.elements,
        metallic=guess_metallic(settings.elements).value,
        all_metals=metals,
        gap_eV=_gap(campaign, prepared),
    )
    runs = []
    failed: set[str] = set()
    for record in campaign.state.steps():
        if record.name == "md":
            runs += [
                Past(record.iteration, "equilibrium", run["temperature_K"], run["status"])
                for run in record.result["runs"]
                if run.get("kind", "md") == "md"
            ]
        elif record.name == STEP:
            runs += [
                Past(record.iteration, run["kind"], run["temperature_K"], run["status"])
                for run in record.result["runs"]
            ]
        elif record.name == "validate":
            failed |= {c["name"] for c in record.result["checks"] if not c["passed"]}
    return decide(
        material,
        Situation(
            temperatures_K=settings.dynamics.temperatures_K,
            runs=tuple(run for run in runs if run.iteration <= iteration),
            failed_gates=frozenset(failed),
            labels_spent=labels_spent(campaign),
            labels_budget=settings.budget.labels,
            cheap=isinstance(settings.oracle, ASESettings | RootstockSettings),
        ),
    )


def _gap(campaign: Campaign, prepared: Prepared) -> float | None:
    """Return the gap (eV) of the most stable first label of the reference's formula, if known.

    The most stable: what a strong distortion does to a gap says little about the material.
    """
    formula = prepared.reference.get_chemical_formula()
    known: list[tuple[float, float]] = []
    for step in campaign.state.steps("label")[:1]:
        for key in step.result["keys"]:
            label = campaign.store.get(key) if key else None
            if label is None or label.atoms.get_chemical_formula() != formula:
                continue
            if (gap := label.meta.get("gap_eV")) is not None:
                known.append((float(label.atoms.get_potential_energy()), float(gap)))
    return min(known)[1] if known else None


def _explore(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    decision: Decision,
    rng: np.random.Generator,
) -> dict[str, Any]:
    from pyacemaker.dynamics.swap import SwapMonteCarlo

    crystal = simulation.crystal(campaign, prepared, fit)
    chosen: list[Exploration] = []
    requests: list[MDRequest] = []
    engines: list[Dynamics] = []
    decisions: list[dict[str, Any]] = []
    for exploration in decision.explorations:
        seed = int(rng.integers(1, 2**31 - 1))
        start = _start(campaign, iteration, prepared, fit, crystal, exploration, rng)
        record: dict[str, Any] = {"what": f"explore {exploration.kind}", "why": exploration.reason}
        if start is None:
            record["why"] = "there is no such cell of this material small enough"
            record["what"] = f"no {exploration.kind}"
            decisions.append(record)
            continue
        requests.append(_request(campaign, fit, start, exploration, seed))
        engines.append(SwapMonteCarlo() if exploration.kind == "swap" else campaign.parts.dynamics)
        chosen.append(exploration)
        low, high = exploration.temperature_K
        decisions.append(
            {
                **record,
                "temperature_K": [low, high],
                "ensemble": "NPT" if exploration.npt else "NVT",
            }
        )
    folder = campaign.journal.folder(iteration) / STEP
    tasks = [
        simulation.MDTask(engine, request, folder / f"{i:02d}_{request.temperature_K[0]:.0f}K")
        for i, (engine, request) in enumerate(zip(engines, requests, strict=True))
    ]
    result = explorers.run_tasks(campaign, iteration, STEP, tasks)
    runs = [
        {**run, "kind": exploration.kind}
        for run, exploration in zip(result["runs"], chosen, strict=True)
    ]
    return {"runs": runs, "decisions": [{"what": decision.what, "why": decision.why}, *decisions]}


def _request(
    campaign: Campaign, fit: dict[str, Any], start: Atoms, what: Exploration, seed: int
) -> MDRequest:
    dynamics = campaign.settings.dynamics
    pressure = dynamics.pressure_GPa if what.npt else None
    if what.kind == "pressure":
        pressure = (pressure or 0.0) + _PRESSURE_OF_B0 * _bulk_modulus(campaign)
    return MDRequest(
        atoms=start,
        potential=campaign.journal.workdir / fit["potential"],
        temperature_K=what.temperature_K,
        steps=min(dynamics.steps, _SWAP_STEPS) if what.kind == "swap" else dynamics.steps,
        timestep_fs=dynamics.timestep_fs,
        gamma_halt=fit["gamma_halt"],
        check_every=dynamics.check_every,
        pressure_GPa=pressure,
        seed=seed,
        timeout_s=dynamics.timeout_s,
    )


def _bulk_modulus(campaign: Campaign) -> float:
    """Return the newest bulk modulus (GPa) of the reference; 100 where no gate told one."""
    for record in reversed(campaign.state.steps("validate")):
        for check in record.result["checks"]:
            if check["name"] == "eos" and "B0_GPa" in check["numbers"]:
                return float(check["numbers"]["B0_GPa"])
    return 100.0


def _start(
    campaign: Campaign,
    iteration: int,
    prepared: Prepared,
    fit: dict[str, Any],
    crystal: Atoms,
    what: Exploration,
    rng: np.random.Generator,
) -> Atoms | None:
    """Return the cell an exploration begins from: where it halted before, or a new one."""
    from pyacemaker.generator.defects import surfaces
    from pyacemaker.generator.distort import deformed

    if (frame := _halted_before(campaign, iteration, what.kind)) is not None:
        return frame
    most = campaign.settings.dynamics.atoms
    if what.kind == "strain":
        strain = np.zeros((3, 3))
        strain[0, 1] = strain[1, 0] = _SHEAR
        return deformed(crystal, strain)
    if what.kind == "vacancy":
        hole = crystal.copy()
        del hole[int(rng.integers(len(hole)))]
        return hole if len(hole) > 1 else None
    if what.kind == "surface":
        slabs = surfaces(prepared.reference, max(most, 2 * len(prepared.reference)), rng)
        return slabs[0] if slabs else None
    if what.kind == "composition":
        return _other_composition(campaign, prepared, fit, crystal, rng)
    return crystal


def _halted_before(campaign: Campaign, iteration: int, kind: str) -> Atoms | None:
    last = [
        run
        for record in campaign.state.steps(STEP)
        if record.iteration < iteration
        for run in record.result["runs"]
        if run["kind"] == kind
    ]
    if not last or last[-1]["status"] != "halted":
        return None
    (frame,) = campaign.journal.load(last[-1]["frame"])
    return frame


def _other_composition(
    campaign: Campaign,
    prepared: Prepared,
    fit: dict[str, Any],
    crystal: Atoms,
    rng: np.random.Generator,
) -> Atoms:
    """Return another compound among the stable phases, else the lattice with its atoms mixed."""
    from pyacemaker.generator.distort import supercell
    from pyacemaker.validator.relax import relax

    for phase in prepared.phases[1:]:
        if len(set(phase.get_chemical_symbols())) > 1:
            try:
                potential = Potential.load(campaign.journal.workdir / fit["potential"])
                cell = relax(phase, potential.calculator()).atoms
                return supercell(cell, max(campaign.settings.dynamics.atoms, len(cell)))
            except PotentialError:
                continue
    mixed = crystal.copy()
    mixed.numbers = rng.permutation(rng.choice(sorted(set(crystal.numbers)), size=len(crystal)))
    return mixed
