"""Work in parallel on a SLURM cluster: Parsl's pilot jobs, aware of their time limits."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.jobs.states import JobState, JobStatus

from pyacemaker.execution.base import ExecutionError
from pyacemaker.execution.parsl_executor import (
    INTERCHANGE,
    WORKER_COMMAND,
    ParslExecutor,
)
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.execution.slurm_provider import BlockProvider, check_cluster

_HEARTBEAT_S = 5
_LOST_S = 20  # a block that is not heard of for so long is lost, and its labels go to others
_MOST_LOST = 4  # times that one label may lose its block: it may itself be what kills them
_MOST_STILLBORN = 3  # blocks in a row that ended without a word


class SlurmExecutor(ParslExecutor):
    """Runs a function over items in jobs of a SLURM cluster.

    Parameters
    ----------
    settings
        What a job asks for, and how many there may be.
    run_dir
        Folder for scripts, logs and keys, on a file system that the nodes share.

    Function, items and values are pickled. An item whose block dies is given to another one, up
    to four times. Blocks are submitted when there is work and not enough of them, and given
    back when there is none.

    Raises
    ------
    ExecutionError
        On entering, where SLURM does not answer or has no such partition.
    """

    def __init__(self, settings: ExecutionSettings, run_dir: Path) -> None:
        super().__init__(settings.labels_at_once, "processes", run_dir)
        self.settings = settings
        self._provider: BlockProvider | None = None

    def _parsl_config(self, folder: Path) -> Config:
        check_cluster(self.settings)
        self._provider = BlockProvider(self.settings, folder)
        self._provider.cancel_all()  # of a run that was killed
        shutil.rmtree(folder / "parsl", ignore_errors=True)
        for stop in folder.glob("stop*"):  # that run was told to stop, not this one
            stop.unlink(missing_ok=True)
        return slurm_config(self.settings, folder, self._provider)

    def _close_kernel(self) -> None:
        try:
            super()._close_kernel()
        finally:
            if self._provider is not None:
                self._provider.cancel_all()

    def _explained(self, lost: Exception) -> BaseException:
        if isinstance(lost, BadStateException):
            return ExecutionError(str(lost.reason).strip())
        if isinstance(lost, ManagerLost | WorkerLost):
            return ExecutionError(
                f"a label lost its block {_MOST_LOST + 1} times; does it take more memory than "
                "execution.memory_GB_per_node, or more time than execution.longest_label_min? "
                f"See {self._folder}/parsl"
            )
        return lost


def slurm_config(settings: ExecutionSettings, folder: Path, provider: BlockProvider) -> Config:
    """Return Parsl's configuration for blocks of a SLURM cluster."""
    executor = HighThroughputExecutor(
        label="processes",
        address=settings.address,
        encrypted=True,
        max_workers_per_node=settings.labels_per_node,
        cores_per_worker=1e-6,  # the number of workers is the user's choice
        prefetch_capacity=0,  # a label waits where any block can take it
        heartbeat_period=_HEARTBEAT_S,
        heartbeat_threshold=_LOST_S,
        drain_period=int(settings.label_window_s),
        block_error_handler=_give_up_on_stillborn,
        launch_cmd=WORKER_COMMAND,
        interchange_launch_cmd=[sys.executable, "-c", INTERCHANGE],
        provider=provider,
    )
    return Config(
        executors=[executor],
        run_dir=str(folder / "parsl"),
        strategy="simple",
        strategy_period=1,
        max_idletime=60 * settings.idle_min,
        retries=_MOST_LOST,
        retry_handler=_cost,
        usage_tracking=0,
        monitoring=None,
        initialize_logging=False,
    )


def _cost(error: Exception, _: Mapping[str, Any]) -> float:
    """Return what a failure costs of the retries; only the loss of a block is worth another try."""
    return 1.0 if isinstance(error, ManagerLost | WorkerLost) else _MOST_LOST + 1.0


def _give_up_on_stillborn(executor: Any, status: Mapping[str, JobStatus]) -> None:
    """End the work where the last blocks all ended before a worker was heard of.

    Blocks that worked and then died (of their time limit, of a node) are no reason to give up.
    """
    ended = [status[block] for block in sorted(status, key=int) if status[block].terminal]
    last = ended[-_MOST_STILLBORN:]
    if len(last) < _MOST_STILLBORN or any(job.state != JobState.MISSING for job in last):
        return
    words = (last[-1].stderr_summary or last[-1].message or "").strip().splitlines()
    said = next((line for line in reversed(words) if line.strip()), "no word was left")
    executor.set_bad_state_and_fail_all(
        ExecutionError(
            f"{_MOST_STILLBORN} jobs of SLURM ended before they took a label; the last said: "
            f"{said.strip()}. Look at execution.setup, execution.address and "
            f"{executor.provider.script_dir}"
        )
    )
