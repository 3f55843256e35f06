"""A campaign's parts that do no work, so that what is left is the orchestrator.

Each keeps to the interface it stands for. The oracle's labels are zeros; the trainer hands over
one potential, fitted before; the selector takes evenly from the pool; every trajectory halts at
once on a rattled crystal, so that every cycle gets candidates round halts.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.campaign.parts import ConfiguredParts
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.dynamics.base import GammaSample, MDRequest, MDResult
from pyacemaker.oracle.base import Label
from pyacemaker.selection.base import Selection
from pyacemaker.trainer.base import FitResult
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.base import CheckResult


@dataclass(frozen=True)
class NullOracle:
    """Labels with zeros."""

    name: str = "null"

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return what names its labels."""
        del atoms
        return {"code": "null"}

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Return zeros for energy, forces and stress."""
        del workdir
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(
            copy, energy=0.0, forces=np.zeros((len(atoms), 3)), stress=np.zeros(6)
        )
        return Label(copy, self.settings(atoms), {"wall_s": 0.0})


class NullSelector:
    """Takes `count` structures evenly from the pool."""

    def select(
        self,
        pool: Sequence[Atoms],
        current: Sequence[Atoms],
        count: int,
        rng: np.random.Generator,
    ) -> Selection:
        """Choose without looking; only what was chosen before is left out."""
        del rng
        known = {id(atoms) for atoms in current}
        free = [index for index, atoms in enumerate(pool) if id(atoms) not in known]
        count = min(max(count, 0), len(free))
        evenly = np.linspace(0, len(free) - 1, count).round().astype(int)
        return Selection(tuple(free[n] for n in evenly), (5.0,) * count)


@dataclass(frozen=True)
class NullTrainer:
    """Hands over the potential in `potential`."""

    potential: Path

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Copy it."""
        del train, validation, reference_energies, rng, parent
        shutil.rmtree(outdir, ignore_errors=True)
        shutil.copytree(self.potential, outdir)
        errors = {"energy_rmse": 0.0, "force_rmse": 0.0, "stress_rmse": 0.0}
        return FitResult(outdir, {"train": errors, "validation": errors}, 0.0)


class NullDynamics:
    """Halts at once, on the crystal with its atoms displaced by 0.1 angstrom."""

    name = "null"

    def run(self, request: MDRequest, workdir: Path) -> MDResult:
        """Return a halt before the first step."""
        workdir.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(request.seed)
        frame = request.atoms.copy()
        frame.positions = frame.positions + rng.normal(0, 0.1, frame.positions.shape)
        frame.arrays["gamma"] = rng.uniform(0, 10, len(frame))
        trace = tuple(
            GammaSample(step, step * request.timestep_fs, request.temperature_K[0], 1.0)
            for step in range(0, 1000, 10)
        )
        return MDResult("halted", 0, frame, trace, self.name)


class NullCheck:
    """A gate that every potential passes."""

    name = "null"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Pass."""
        del calculator, structure, test
        return CheckResult(self.name, passed=True, reason="nothing is tested")


def fitted_potential(folder: Path) -> Path:
    """Fit a small potential of copper to EMT, for the calculators of report and relaxation."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    from pyacemaker.trainer.pacemaker import LinearTrainer

    rng = np.random.default_rng(1)
    labelled = []
    for number in range(24):
        atoms = bulk("Cu", cubic=True, a=3.5 + 0.01 * number)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        atoms.calc = EMT()
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        labelled.append(atoms)
    settings = TrainerSettings(functions_per_element=40, cutoff_A=5.0, max_body_order=4)
    alone = Atoms("Cu", cell=[12] * 3)
    alone.calc = EMT()
    energies = {"Cu": float(alone.get_potential_energy())}
    trainer = LinearTrainer(settings)
    return trainer.fit(labelled[:20], labelled[20:], energies, folder, rng).potential


class NullParts(ConfiguredParts):
    """All that costs time in earnest is null; the executor and the last test are the real ones."""

    def __init__(self, settings: CampaignSettings, potential: Path) -> None:
        super().__init__(settings, print, None)
        self.make_oracle = lambda _: NullOracle()
        self.selector = NullSelector()
        self.trainer = NullTrainer(potential)
        self.dynamics = NullDynamics()
        self.checks = (NullCheck(),)
