"""The components of a campaign, made from its settings: one of each role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ase.calculators.calculator import Calculator

from pyacemaker.config.settings import CampaignSettings, GeneratorSettings
from pyacemaker.dynamics.base import Dynamics, DynamicsError
from pyacemaker.dynamics.kmc.base import KMCEngine
from pyacemaker.execution.base import Executor
from pyacemaker.oracle.base import Oracle
from pyacemaker.oracle.settings import OracleSettings, make_oracle
from pyacemaker.selection.base import Selector
from pyacemaker.trainer.base import GrowingTrainer, Trainer
from pyacemaker.trainer.growing.torch_needed import check_torch
from pyacemaker.validator.base import Check

Say = Callable[[str], None]

ROWS = Path("cache") / "rows"


class Parts(Protocol):
    """What the orchestrator works with."""

    @property
    def make_oracle(self) -> Callable[[OracleSettings], Oracle]:
        """Makes the oracle of settings, which may be those of a converged cutoff."""

    @property
    def foundation(
        self,
    ) -> Callable[[GeneratorSettings], AbstractContextManager[Sequence[Calculator]]]:
        """Starts the foundation models of the cold start, and stops them."""

    @property
    def selector(self) -> Selector:
        """Chooses what is worth a label."""

    @property
    def trainer(self) -> Trainer:
        """Fits."""

    @property
    def growing(self) -> GrowingTrainer | None:
        """The trainer, if it is one whose potentials grow."""

    @property
    def dynamics(self) -> Dynamics:
        """Runs molecular dynamics."""

    @property
    def kmc(self) -> KMCEngine:
        """Walks by kinetic Monte Carlo."""

    @property
    def checks(self) -> Sequence[Check]:
        """The gates, in order."""

    @property
    def test_check(self) -> Check:
        """The last test, on independent trajectories."""

    @property
    def executor(self) -> Callable[[int, Path], Executor]:
        """Opens so many workers for a campaign in a work directory."""


class ConfiguredParts:
    """The parts that settings ask for, each made when it is first used.

    What some of them import takes seconds, and a resumed campaign needs them late or never.
    `say` is told what takes long, such as a build. What can be computed anew, such as the rows
    of a fit, is kept in `workdir`, if one is named.
    """

    make_oracle = staticmethod(make_oracle)

    def __init__(self, settings: CampaignSettings, say: Say, workdir: Path | None) -> None:
        self._settings, self._say, self._workdir = settings, say, workdir

    def foundation(
        self, settings: GeneratorSettings
    ) -> AbstractContextManager[Sequence[Calculator]]:
        """Start the foundation models that `settings` name."""
        from pyacemaker.parts.foundation_models import foundation_models

        return foundation_models(settings)

    @cached_property
    def selector(self) -> Selector:
        """Of `selection`."""
        return _make_selector(self._settings, self._workdir)

    @cached_property
    def trainer(self) -> Trainer:
        """Of `trainer`."""
        return _make_trainer(self._settings, self._say, self._workdir)

    @property
    def growing(self) -> GrowingTrainer | None:
        """Of `trainer`, if those grow; others are not made for the question."""
        if self._settings.trainer.fit != "esper":
            return None
        trainer = self.trainer
        return trainer if isinstance(trainer, GrowingTrainer) else None

    @cached_property
    def dynamics(self) -> Dynamics:
        """Of `dynamics`."""
        return _make_dynamics(self._settings, self._say)

    @cached_property
    def kmc(self) -> KMCEngine:
        """Of `dynamics`, where it walks."""
        from pyacemaker.dynamics.kmc.choose import make_kmc

        return make_kmc(self._settings.kmc)

    @cached_property
    def checks(self) -> Sequence[Check]:
        """Of `validation`."""
        from pyacemaker.validator.run import make_checks

        return make_checks(self._settings.validation)

    @cached_property
    def test_check(self) -> Check:
        """Of `validation`."""
        from pyacemaker.validator.test_error import TestErrorCheck

        return TestErrorCheck(self._settings.validation)

    def executor(self, workers: int, workdir: Path) -> Executor:
        """Of `execution`."""
        from pyacemaker.execution.choose import make_executor

        return make_executor(self._settings.execution, workers, workdir)


def make_parts(settings: CampaignSettings, say: Say, workdir: Path | None = None) -> Parts:
    """Return the parts `settings` ask for, those made that could be refused (see the class).

    Raises OracleError, DynamicsError, TrainerError or PartError, with the remedy, where a part
    cannot be had.
    """
    from pyacemaker.oracle.ase_oracle import ASEOracle
    from pyacemaker.oracle.espresso.oracle import EspressoOracle
    from pyacemaker.oracle.rootstock_oracle import RootstockOracle
    from pyacemaker.parts.foundation_models import check_models

    oracle = make_oracle(settings.oracle)
    if isinstance(oracle, EspressoOracle):
        oracle.prepare(settings.elements, say)
    elif isinstance(oracle, RootstockOracle | ASEOracle):
        oracle.prepare()
    check_models(settings.generator)
    parts = ConfiguredParts(settings, say, workdir)
    _ = parts.dynamics
    if settings.kmc is not None and settings.kmc.engine == "eon":
        _ = parts.kmc
    if not settings.trainer.is_linear:
        _ = parts.trainer
    return parts


def _make_selector(settings: CampaignSettings, workdir: Path | None) -> Selector:
    from pyacemaker.selection.committee import CommitteeSelector
    from pyacemaker.selection.maxvol import MaxVolSelector, RandomSelector

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
        from pyacemaker.trainer.imported import ImportedTrainer

        return ImportedTrainer(settings.trainer)
    if settings.trainer.backend == "ace-jax":
        from pyacemaker.trainer.ace_jax import AceJaxTrainer

        return AceJaxTrainer(settings.trainer, say)
    if settings.trainer.fit == "esper":
        check_torch()
        from pyacemaker.trainer.growing.trainer import EsperTrainer

        return EsperTrainer(settings.trainer)
    if settings.trainer.fit == "finnis-sinclair":
        from pyacemaker.trainer.finnis_sinclair import FinnisSinclairTrainer

        return FinnisSinclairTrainer(settings.trainer, say)
    from pyacemaker.trainer.pacemaker import LinearTrainer

    return LinearTrainer(settings.trainer, settings.workers, workdir and workdir / ROWS)


def _make_dynamics(settings: CampaignSettings, say: Say) -> Dynamics:
    from pyacemaker.dynamics.choose import make_dynamics

    dynamics = settings.dynamics
    if settings.trainer.fit != "esper":
        return make_dynamics(dynamics.engine, dynamics.lammps_command, say)
    if dynamics.engine == "lammps":
        raise DynamicsError(
            "dynamics.engine: LAMMPS has no pair style for the networks of trainer.fit: esper; "
            "leave it out, and molecular dynamics runs by ASE"
        )
    return make_dynamics("ase", None, say)
