"""Train on what is labelled, and let the gates decide whether the potential may be used."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.campaign import fits
from pyacemaker.campaign.dataset import load
from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.phase_choice import PROPERTY_GATES
from pyacemaker.files import write_whole
from pyacemaker.generator.phases import phase_name
from pyacemaker.potential import Potential
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.validator.base import CheckResult

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared


def train(campaign: Campaign, iteration: int, prepared: Prepared) -> dict[str, Any]:
    """Fit a potential to all labels on the training side. Raises CampaignError."""
    journal = campaign.journal

    def work(rng: np.random.Generator) -> dict[str, Any]:
        dataset = load(campaign.state, campaign.store, campaign.settings.seed)
        before = fits.current(campaign.state, iteration - 1)
        try:
            fit = campaign.parts.trainer.fit(
                dataset.train,
                dataset.validation,
                prepared.reference_energies,
                journal.folder(iteration) / "potential",
                rng,
                parent=journal.workdir / before["potential"] if before else None,
            )
        except TrainerError as error:
            raise CampaignError(f"the fit of iteration {iteration} failed: {error}") from error
        sizes = {
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
        }
        journal.note(iteration, "train", f"fitted to {sizes['train']} labels in {fit.wall_s:.1f} s")
        return describe(campaign, fit, sizes)

    return journal.step(iteration, "train", work)


def describe(campaign: Campaign, fit: FitResult, sizes: dict[str, int]) -> dict[str, Any]:
    """Return what the state keeps of a fit."""
    return {
        "potential": str(fit.potential.relative_to(campaign.journal.workdir)),
        "manifest": campaign.journal.reference(fit.potential / "potential.json"),
        "metrics": dict(fit.metrics),
        "sizes": sizes,
    }


def validate(
    campaign: Campaign, iteration: int, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    """Put the potential through every gate. What fails one is never run nor deployed."""

    def work(_: np.random.Generator) -> dict[str, Any]:
        return judge(campaign, iteration, "validate", prepared, fit)

    return campaign.journal.step(iteration, "validate", work)


def judge(
    campaign: Campaign, iteration: int, step: str, prepared: Prepared, fit: dict[str, Any]
) -> dict[str, Any]:
    """Run every gate on a fit, and return the verdict; `step` is the one that is running."""
    from pyacemaker.validator.run import run_checks

    journal = campaign.journal
    dataset = load(campaign.state, campaign.store, campaign.settings.seed)
    journal.checked(fit["manifest"])
    calculator = Potential.load(journal.workdir / fit["potential"]).calculator()
    checks = run_checks(campaign.parts.checks, calculator, prepared.reference, dataset.test)
    for phase in prepared.phases[1:]:
        checks += _on_phase(campaign, calculator, phase)
    passed = all(check.passed for check in checks)
    for check in checks:
        journal.note(
            iteration, step, f"{check.name}: {'go' if check.passed else 'NO-GO'}, {check.reason}"
        )
    name = "validation" if step == "validate" else f"validation_{step}"
    return {"passed": passed, **save_checks(campaign, iteration, name, checks)}


def _on_phase(campaign: Campaign, calculator: Calculator, phase: Atoms) -> list[CheckResult]:
    """Put another stable phase through the gates of physics; their names say which phase."""
    from pyacemaker.validator.run import run_checks

    gates = [check for check in campaign.parts.checks if check.name in PROPERTY_GATES]
    if not gates:
        return []
    return [
        replace(result, name=f"{result.name} ({phase_name(phase)})")
        for result in run_checks(gates, calculator, phase, ())
    ]


def save_checks(
    campaign: Campaign, iteration: int, name: str, checks: list[CheckResult]
) -> dict[str, Any]:
    """Write the checks with their series to a file, and return what the state keeps of them."""
    journal = campaign.journal
    folder = journal.folder(iteration)
    path = folder / f"{name}.json"
    plain = [
        {key: value for key, value in asdict(check).items() if key != "failure_structures"}
        for check in checks
    ]
    write_whole(path, json.dumps(plain, indent=1))
    wanted = [atoms for check in checks for atoms in check.failure_structures]
    return {
        "checks": [
            {key: value for key, value in check.items() if key != "series"} for check in plain
        ],
        "series": journal.reference(path),
        "failure_structures": journal.save(folder / f"{name}_failures.json", wanted),
    }
