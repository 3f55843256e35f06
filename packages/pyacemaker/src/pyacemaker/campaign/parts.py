"""The components of a campaign, made from its settings: one of each role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ase.calculators.calculator import Calculator

from pyacemaker.config.settings import CampaignSettings, GeneratorSettings
from pyacemaker.dynamics.base import Dynamics, DynamicsError
from pyacemaker.dynamics.choose import make_dynamics
from pyacemaker.dynamics.kmc.base import KMCEngine
from pyacemaker.dynamics.kmc.choose import make_kmc
from pyacemaker.execution.base import Executor
from pyacemaker.execution.choose import make_executor
from pyacemaker.oracle.ase_oracle import ASEOracle
from pyacemaker.oracle.base import Oracle
from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.rootstock_oracle import RootstockOracle
from pyacemaker.oracle.settings import OracleSettings, make_oracle
from pyacemaker.parts.foundation_models import check_models, foundation_models
from pyacemaker.selection.base import Selector
from pyacemaker.selection.committee import CommitteeSelector
from pyacemaker.selection.maxvol import MaxVolSelector, RandomSelector
from pyacemaker.trainer.ace_jax import AceJaxTrainer
from pyacemaker.trainer.base import Trainer
from pyacemaker.trainer.finnis_sinclair import FinnisSinclairTrainer
from pyacemaker.trainer.growing.torch_needed import check_torch
from pyacemaker.trainer.imported import ImportedTrainer
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.validator.base import Check
from pyacemaker.validator.run import make_checks
from pyacemaker.validator.test_error import TestErrorCheck

Say = Callable[[str], None]

ROWS = Path("cache") / "rows"


@dataclass(frozen=True)
class Parts:
    """What the orchestrator works with. A test may replace any of them."""

    make_oracle: Callable[[OracleSettings], Oracle]
    foundation: Callable[[GeneratorSettings], AbstractContextManager[Sequence[Calculator]]]
    selector: Selector
    trainer: Trainer
    dynamics: Dynamics
    kmc: KMCEngine
    checks: Sequence[Check]
    test_check: Check
    executor: Callable[[int, Path], Executor]


def make_parts(settings: CampaignSettings, say: Say, workdir: Path | None = None) -> Parts:
    """Return the parts `settings` ask for. `say` is told what takes long, such as a build.

    What can be computed anew, such as the rows of a fit, is kept in `workdir`, if one is named.

    Raises OracleError, DynamicsError, TrainerError or PartError, with the remedy, where a part
    cannot be had.
    """
    oracle = make_oracle(settings.oracle)
    if isinstance(oracle, EspressoOracle):
        oracle.prepare(settings.elements, say)
    elif isinstance(oracle, RootstockOracle | ASEOracle):
        oracle.prepare()
    check_models(settings.generator)
    checks = make_checks(settings.validation)
    return Parts(
        make_oracle=make_oracle,
        foundation=foundation_models,
        selector=_make_selector(settings, workdir),
        trainer=_make_trainer(settings, say, workdir),
        dynamics=_make_dynamics(settings, say),
        kmc=make_kmc(settings.kmc),
        checks=checks,
        test_check=TestErrorCheck(settings.validation),
        executor=partial(make_executor, settings.execution),
    )


def _make_selector(settings: CampaignSettings, workdir: Path | None) -> Selector:
    if settings.selection.selection == "random":
        return RandomSelector.for_elements(settings.elements, settings.trainer)
    if settings.selection.selection == "committee":
        return CommitteeSelector(
            settings.elements,
            settings.trainer,
            workers=settings.workers,
            cache=workdir and workdir / ROWS,
            least_gain=settings.selection.least_gain,
        )
    return MaxVolSelector.for_elements(
        settings.elements, settings.trainer, settings.selection.least_gain
    )


def _make_trainer(settings: CampaignSettings, say: Say, workdir: Path | None) -> Trainer:
    if settings.trainer.backend == "imported":
        return ImportedTrainer(settings.trainer)
    if settings.trainer.backend == "ace-jax":
        return AceJaxTrainer(settings.trainer, say)
    if settings.trainer.fit == "esper":
        check_torch()
        from pyacemaker.trainer.growing.trainer import EsperTrainer  # noqa: PLC0415 - needs torch

        return EsperTrainer(settings.trainer)
    if settings.trainer.fit == "finnis-sinclair":
        return FinnisSinclairTrainer(settings.trainer, say)
    return LinearTrainer(settings.trainer, settings.workers, workdir and workdir / ROWS)


def _make_dynamics(settings: CampaignSettings, say: Say) -> Dynamics:
    dynamics = settings.dynamics
    if settings.trainer.fit != "esper":
        return make_dynamics(dynamics.engine, dynamics.lammps_command, say)
    if dynamics.engine == "lammps":
        raise DynamicsError(
            "dynamics.engine: LAMMPS has no pair style for the networks of trainer.fit: esper; "
            "leave it out, and molecular dynamics runs by ASE"
        )
    return make_dynamics("ase", None, say)
