"""Blocks of a SLURM cluster: jobs submitted, watched and cancelled for one campaign.

Parsl's own SlurmProvider does the submitting. What differs here, and why:

- All jobs of a campaign carry one name, derived from its folder, so that what a killed campaign
  left in the queue is found and cancelled by the next run.
- Jobs are watched by squeue under that name. Asked by number, squeue fails for a job it has
  forgotten, and a block that ended would count as running for ever.
- A job is not requeued by SLURM: another one is submitted at once, where there is a node.
"""

from __future__ import annotations

import getpass
import hashlib
import shlex
import subprocess
from pathlib import Path

from parsl.jobs.states import JobState, JobStatus
from parsl.launchers import SimpleLauncher, SrunLauncher
from parsl.providers import SlurmProvider

from pyacemaker.execution.base import ExecutionError
from pyacemaker.execution.settings import ExecutionSettings

_ASK_S = 60  # time limit of a command of SLURM
_LOOK_S = 5  # how often the queue is looked at
# The compact states of squeue(1); any other is that of a job that holds its nodes.
_STATES = {
    **dict.fromkeys(("PD", "CF", "RQ", "RH", "RD", "RF", "SE", "SI"), JobState.PENDING),
    "CD": JobState.COMPLETED,
    "CA": JobState.CANCELLED,
    **dict.fromkeys(("TO", "PR", "DL"), JobState.TIMEOUT),
    **dict.fromkeys(("F", "NF", "BF", "OOM", "RV"), JobState.FAILED),
}
# Reasons of squeue(1) for which a job waits until somebody changes the cluster, or the job.
_NEVER = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
    }
)
# mpirun must start the processes of a label on the label's own node, not by SLURM's srun on
# whatever the block holds; the number, the node and the configuration stay for people and tools.
_FORGET_SLURM = (
    'for name in "${!SLURM@}"; do case "$name" in SLURM_CONF|SLURM_JOB_ID|SLURMD_NODENAME) ;; '
    '*) unset "$name" ;; esac; done'
)


class BlockProvider(SlurmProvider):  # type: ignore[misc]
    """Submits blocks with `settings`; `folder` is the campaign's, on a file system all share."""

    def __init__(self, settings: ExecutionSettings, folder: Path) -> None:
        self.slurm_conf = settings.slurm_conf
        self.job_name = job_name(folder)
        several = settings.nodes_per_block > 1
        setup = [*settings.setup, *([] if several else [_FORGET_SLURM])]
        options = [f"--job-name={self.job_name}", "--no-requeue", *settings.options]
        super().__init__(
            partition=settings.partition,
            account=settings.account,
            qos=settings.qos,
            constraint=settings.constraint,
            nodes_per_block=settings.nodes_per_block,
            cores_per_node=settings.cores_per_node,
            mem_per_node=settings.memory_GB_per_node,
            gres=settings.gres,
            exclusive=settings.cores_per_node is None,
            init_blocks=0,
            min_blocks=0,
            max_blocks=settings.blocks,
            parallelism=1,
            walltime=_clock(settings.walltime_min),
            scheduler_options="\n".join(f"#SBATCH {option}" for option in options),
            worker_init="\n".join(setup),
            cmd_timeout=_ASK_S,
            launcher=SrunLauncher() if several else SimpleLauncher(),
        )

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two looks at the queue."""
        return _LOOK_S

    def execute_wait(self, cmd: str, timeout: int | None = None) -> tuple[int, str, str]:
        """Run a command of SLURM for the cluster that is meant."""
        if cmd == "sacct -X":  # of every job of the user, ever; only to learn whether it works
            return 1, "", "not asked"
        prefix = f"SLURM_CONF={shlex.quote(self.slurm_conf)} " if self.slurm_conf else ""
        found: tuple[int, str, str] = super().execute_wait(prefix + cmd, timeout)
        return found

    def cancel_all(self) -> None:
        """Cancel every job of the campaign, those of an earlier run too."""
        self.execute_wait(f"scancel --quiet --name={self.job_name} --user={getpass.getuser()}")

    def _status(self) -> None:
        code, said, _ = self.execute_wait(
            f"squeue --noheader --states=all --name={self.job_name} --format='%i|%t|%r'"
        )
        if code:
            return  # slurmctld is away for a while: what was known holds
        rows = [line.split("|", 2) for line in said.splitlines() if line.strip()]
        states = {number: (state, reason) for number, state, reason in rows}
        for number, job in self.resources.items():
            if job["status"].terminal:
                continue
            state, reason = states.get(number, ("CD", ""))  # unknown: it ended long ago
            if state == "PD" and reason in _NEVER:
                job["status"] = JobStatus(JobState.FAILED, f"SLURM can never start it ({reason})")
                continue
            job["status"] = JobStatus(
                _STATES.get(state, JobState.RUNNING),
                stdout_path=job["job_stdout_path"],
                stderr_path=job["job_stderr_path"],
            )


def job_name(folder: Path) -> str:
    """Return the name of the jobs of the campaign in `folder`."""
    return f"pyacemaker-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def check_cluster(settings: ExecutionSettings) -> None:
    """Ask slurmctld whether it answers and has the partition. Raises ExecutionError."""
    if settings.slurm_conf and not Path(settings.slurm_conf).is_file():  # scontrol waits a minute
        raise ExecutionError(f"execution.slurm_conf: there is no file {settings.slurm_conf}")
    conf = [f"SLURM_CONF={settings.slurm_conf}"] if settings.slurm_conf else []
    partition = [settings.partition] if settings.partition else []
    try:
        done = subprocess.run(
            ["env", *conf, "scontrol", "show", "partition", *partition],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExecutionError(f"slurmctld did not answer within {_ASK_S} s") from None
    if done.returncode == 127:
        raise ExecutionError(
            "execution.kind is slurm, but this machine has no commands of SLURM; run it on a "
            "machine that submits to the cluster"
        )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no answer"]
        if "not found" in said[0]:
            raise ExecutionError(
                f"execution.partition: the cluster has no partition {settings.partition!r}; "
                "`sinfo -s` lists them"
            )
        raise ExecutionError(
            f"SLURM does not answer: {said[0]}; name the cluster's slurm.conf by "
            "execution.slurm_conf, or the variable SLURM_CONF"
        )


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
