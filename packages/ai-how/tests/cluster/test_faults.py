"""Whatever breaks is told by `status` in a plain sentence, and mended by `up`."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ai_how.cluster.lifecycle import down, made, status, up
from ai_how.drivers.base import DriverError
from ai_how.drivers.daemons import daemons_of, end, job_processes
from ai_how.slurm.commands import node_states, queue, submit

pytestmark = pytest.mark.real

Job = Callable[[str, Sequence[str]], str]
WORKS = ["srun", "--nodes=2", "--mem=1", "--immediate=30", "true"]


def quiet(_: str) -> None:
    pass


@pytest.fixture
def told() -> list[str]:
    return []


def test_a_munge_key_that_was_changed(
    small: Path, state: Path, run_job: Job, told: list[str]
) -> None:
    up(str(small), quiet)
    key = state / "small" / "etc" / "keys" / "munge.key"
    good = key.read_bytes()
    key.chmod(0o600)
    key.write_bytes(secrets.token_bytes(128))
    found = status("small")
    assert found.condition == "degraded"
    assert found.problems == (
        "the munge key is not the one the cluster was made with; `ai-how up` replaces it",
    )
    assert up("small", told.append).condition == "up"
    assert any("the munge key was changed" in line for line in told)
    assert key.read_bytes() != good  # whoever read it meanwhile cannot use it
    assert key.stat().st_mode & 0o777 == 0o400
    run_job("small", WORKS)

    key.unlink()
    assert "the munge key is missing" in status("small").problems[0]
    assert up("small", quiet).condition == "up"


@pytest.fixture
def tiny_disk(small: Path, state: Path) -> Iterator[Path]:
    """The spool folder of n01, on a disk of 12 MiB of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a node a small disk")
    up(str(small), quiet)
    down("small")
    spool = state / "small" / "spool" / "n01"
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(spool)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        up("small", quiet)
        yield spool
    finally:
        down("small")
        subprocess.run(["umount", "--lazy", str(spool)], check=True)


def test_a_disk_that_is_full(tiny_disk: Path, run_job: Job, told: list[str]) -> None:
    script = tiny_disk / "job00077" / "slurm_script"  # as a job leaves it whose slurmd was killed
    script.parent.mkdir()
    script.write_bytes(b"x" * (11 << 20))
    found = status("small")
    assert found.condition == "degraded"
    (problem,) = found.problems
    assert problem.startswith("n01: its disk is full (")
    assert up("small", told.append).condition == "up"
    assert any("n01: its disk was full" in line for line in told)
    assert not script.exists()
    run_job("small", WORKS)

    precious = tiny_disk / "results.dat"
    precious.write_bytes(b"x" * (11 << 20))
    with pytest.raises(DriverError, match=r"n01: its disk is full .* free 8 MiB, then `ai-how up`"):
        up("small", quiet)
    assert precious.exists()
    precious.unlink()
    assert up("small", quiet).condition == "up"


def test_a_state_of_slurmctld_that_cannot_be_read(
    small: Path, state: Path, run_job: Job, told: list[str]
) -> None:
    up(str(small), quiet)
    end((d.pid for d in daemons_of(state / "small") if d.program == "slurmctld"), at_once=True)
    saved = state / "small" / "state"
    for name in ("job_state", "job_state.old", "node_state", "node_state.old", "part_state"):
        (saved / name).write_bytes(b"\x00\x17 not what slurmctld wrote")
    found = status("small")
    assert (found.condition, found.problems[0]) == (
        "degraded",
        "slurmctld does not run; `ai-how up` starts it",
    )
    assert up("small", told.append).condition == "up", told
    run_job("small", WORKS)


def test_the_power_went_off(small: Path, state: Path, tmp_path: Path, told: list[str]) -> None:
    up(str(small), quiet)
    _, _, driver = made("small")
    environment = driver.environment()
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\nsleep 1000\n")
    number = submit(["--nodes=2", f"--output={tmp_path}/out", str(script)], environment)
    saved = state / "small" / "state" / "job_state"
    until = time.monotonic() + 30  # slurmctld saves its state every few seconds
    while not (
        job_processes(state / "small") and saved.exists() and b"job.sh" in saved.read_bytes()
    ):
        assert time.monotonic() < until
        time.sleep(0.1)
    pids = {daemon.pid for daemon in daemons_of(state / "small")} | job_processes(state / "small")
    end(pids, at_once=True)
    found = status("small")
    assert found.condition == "degraded"
    assert "munged does not run" in found.problems[0]
    assert sum("slurmd does not run" in problem for problem in found.problems) == 2
    assert up("small", told.append).condition == "up"
    assert [job.id for job in queue(environment)] == [number]  # to run again
    assert set(node_states(environment)) == {"n01", "n02"}
