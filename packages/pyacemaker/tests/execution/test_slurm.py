"""Blocks of a SLURM cluster: what is asked for, and what is made of the answers.

A real campaign on a real cluster, one of whose nodes is killed, is among the tests of ai-how.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parsl.jobs.states import JobState, JobStatus
from pydantic import ValidationError

from pyacemaker.config import load
from pyacemaker.config.resolve import resolve
from pyacemaker.execution.base import ExecutionError
from pyacemaker.execution.choose import make_executor
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.execution.slurm_executor import SlurmExecutor, _give_up_on_stillborn, slurm_config
from pyacemaker.execution.slurm_provider import BlockProvider, check_cluster, job_name

EMT = "elements: [Cu]\noracle: {code: ase, calculator: ase.calculators.emt.EMT}\n"
SLURM = EMT + (
    "execution:\n  kind: slurm\n  partition: gpu\n  account: mat\n  walltime_min: 90\n"
    "  longest_label_min: 20\n  blocks: 3\n  cores_per_node: 8\n  labels_per_node: 4\n"
    "  setup: [module load gcc, export X=1]\n"
)


def settings(**more: Any) -> ExecutionSettings:
    return ExecutionSettings(kind="slurm", **more)


def resolved(text: str) -> Any:
    return resolve(load.parse_config(text, "c.yaml"))


def test_the_short_form_and_the_section() -> None:
    assert resolved(EMT).settings.execution == ExecutionSettings()
    assert resolved(EMT + "execution: slurm\n").settings.execution == settings()
    found = resolved(SLURM).settings.execution
    assert (found.partition, found.account, found.setup) == (
        "gpu",
        "mat",
        ("module load gcc", "export X=1"),
    )
    assert found.labels_at_once == 12
    assert resolved(SLURM).entry("execution.partition").source == "c.yaml:5"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("execution: cluster", "must be one of local, slurm, not 'cluster'"),
        ("execution: {partition: main}", "is for jobs of a SLURM cluster; write `kind: slurm` too"),
        (
            "execution: {kind: slurm, walltime_min: 30, longest_label_min: 30}",
            "leaves no time to begin a label in a block of walltime_min",
        ),
        ("execution: {kind: slurm, partion: x}", "did you mean 'execution.partition'?"),
        ("execution: {kind: slurm, walltime_min: 0}", "must be at least 1"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(load.ConfigError) as caught:
        resolved(f"{EMT}{text}\n")
    assert words in str(caught.value)
    assert "c.yaml:3" in str(caught.value)


def test_where_it_runs_is_no_part_of_the_science() -> None:
    here, there = resolved(EMT).settings, resolved(SLURM).settings
    assert here.science_digest() == there.science_digest()
    assert here.digest() != there.digest()


def test_no_label_begins_that_cannot_end_in_its_block(tmp_path: Path) -> None:
    chosen = settings(walltime_min=90, longest_label_min=20)
    assert chosen.label_window_s == 90 * 60 - 20 * 60 - 20
    assert settings(walltime_min=60).longest_label_s == 30 * 60
    (executor,) = slurm_config(chosen, tmp_path, BlockProvider(chosen, tmp_path)).executors
    assert executor.drain_period == 4180
    assert executor.prefetch_capacity == 0  # nor waits in one that has no time for it
    with pytest.raises(ValidationError, match="leaves no time to begin a label"):
        settings(walltime_min=1, longest_label_min=0.7)


def test_what_a_job_asks_for(tmp_path: Path) -> None:
    chosen = settings(
        partition="gpu",
        account="mat",
        qos="long",
        constraint="rome",
        gres="gpu:1",
        cores_per_node=8,
        setup="module load gcc",
        options=["--mail-type=END"],
        slurm_conf="/a folder/slurm.conf",
        walltime_min=90,
    )
    provider = BlockProvider(chosen, tmp_path)
    for option in (
        f"--job-name={job_name(tmp_path)}",
        "--no-requeue",
        "--mail-type=END",
        "--partition=gpu",
        "--account=mat",
        "--qos=long",
        "--constraint=rome",
        "--gres=gpu:1",
    ):
        assert f"#SBATCH {option}\n" in provider.scheduler_options
    assert "exclusive" not in provider.scheduler_options
    assert provider.worker_init.startswith("module load gcc\n")
    assert provider.walltime == "01:30:00"
    code, said, _ = provider.execute_wait("sh -c 'echo $SLURM_CONF'")
    assert (code, said) == (0, "/a folder/slurm.conf\n")
    assert "#SBATCH --exclusive\n" in BlockProvider(settings(), tmp_path).scheduler_options
    assert job_name(tmp_path) != job_name(tmp_path / "other")


def test_the_setup_hides_the_block_from_mpirun(tmp_path: Path) -> None:
    provider = BlockProvider(settings(), tmp_path)
    hide = provider.worker_init.strip().replace("'", "'\\''")
    kept = "SLURM_CONF=/c SLURM_JOB_ID=7 SLURMD_NODENAME=n01"
    own = f"env -i {kept} SLURM_NTASKS=1 SLURM_JOBID=7 SLURM_NODELIST=n01"
    command = f"{own} bash -c '{hide}\nset | grep ^SLURM'"
    _, said, _ = provider.execute_wait(command)
    assert sorted(said.split()) == sorted(kept.split())


def test_the_queue_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "1|PD|Priority\n2|R|None\n3|CG|None\n4|NF|None\n5|TO|None\n6|PD|BadConstraints\n99|R|None"
    )
    answers = iter([(1, "", "slurmctld is away"), (0, said, "")])
    provider = BlockProvider(settings(), tmp_path)
    monkeypatch.setattr(BlockProvider, "execute_wait", lambda *_: next(answers))
    for number in "1234567":
        provider.resources[number] = {
            "status": JobStatus(JobState.PENDING),
            "job_stdout_path": "o",
            "job_stderr_path": "e",
        }
    jobs = list("1234567")
    assert {status.state for status in provider.status(jobs)} == {JobState.PENDING}
    found = provider.status(jobs)
    assert [status.state for status in found] == [
        JobState.PENDING,
        JobState.RUNNING,
        JobState.RUNNING,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.FAILED,
        JobState.COMPLETED,
    ]
    assert found[5].message == "SLURM can never start it (BadConstraints)"


@pytest.mark.parametrize(
    ("states", "given_up"),
    [
        ([JobState.MISSING] * 2, False),
        ([JobState.MISSING] * 3, True),
        ([JobState.MISSING] * 3 + [JobState.PENDING], True),
        ([JobState.MISSING] * 2 + [JobState.FAILED], False),  # worked, and lost its node
        ([JobState.COMPLETED] + [JobState.MISSING] * 3, True),
    ],
)
def test_stillborn_blocks_end_the_work(states: list[JobState], given_up: bool) -> None:
    seen: list[Exception] = []
    executor = SimpleNamespace(
        set_bad_state_and_fail_all=seen.append, provider=SimpleNamespace(script_dir="/scripts")
    )
    status = {str(i): JobStatus(state, "module: not found") for i, state in enumerate(states)}
    _give_up_on_stillborn(executor, status)
    assert bool(seen) is given_up
    if given_up:
        assert isinstance(seen[0], ExecutionError)
        assert "the last said: module: not found. Look at execution.setup" in str(seen[0])


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExecutionError, match=r"slurm_conf: there is no file /nix"):
        check_cluster(settings(slurm_conf="/nix"))
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(bare))
    with pytest.raises(ExecutionError, match="this machine has no commands of SLURM"):
        check_cluster(settings())


def test_what_a_killed_run_left_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyacemaker.execution.slurm_executor.check_cluster", lambda _: None)
    cancelled: list[str] = []
    monkeypatch.setattr(
        BlockProvider, "cancel_all", lambda provider: cancelled.append(provider.job_name)
    )
    (tmp_path / "stop-0").touch()
    (tmp_path / "parsl" / "000").mkdir(parents=True)
    SlurmExecutor(settings(), tmp_path)._parsl_config(tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - what is left, by name
    assert cancelled == [job_name(tmp_path)]


def test_the_executor_of_a_campaign(tmp_path: Path) -> None:
    here = make_executor(ExecutionSettings(), 3, tmp_path)
    assert here.workers == 3
    with here:
        assert sorted(outcome.value for outcome in here.map_unordered(abs, [-1, 2])) == [1, 2]
    there = make_executor(settings(blocks=2, labels_per_node=4), 3, tmp_path)
    assert isinstance(there, SlurmExecutor)
    assert there.workers == 8
