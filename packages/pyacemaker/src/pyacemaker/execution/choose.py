"""The executor that a campaign's settings ask for."""

from __future__ import annotations

from pathlib import Path

from pyacemaker.execution.base import Executor
from pyacemaker.execution.deferred import DeferredExecutor
from pyacemaker.execution.settings import ExecutionSettings


def make_executor(settings: ExecutionSettings, workers: int, workdir: Path) -> Executor:
    """Return the executor of a campaign in `workdir`; `workers` is for this machine alone."""
    if settings.kind == "slurm":
        from pyacemaker.execution.slurm_executor import SlurmExecutor

        return SlurmExecutor(settings, workdir / "slurm")
    return DeferredExecutor(workers, _parsl)


def _parsl(workers: int) -> Executor:
    from pyacemaker.execution.parsl_executor import ParslExecutor

    return ParslExecutor(workers)
