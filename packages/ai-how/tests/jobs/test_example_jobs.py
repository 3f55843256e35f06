"""The example jobs, each handed to a real cluster by `ai-how submit`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai_how.cli.app import app
from ai_how.cluster.lifecycle import made, up
from ai_how.slurm.commands import finished, queue

pytestmark = pytest.mark.real
JOBS = Path(__file__).parents[4] / "examples" / "jobs"
BIN = Path(sys.executable).parent

Run = Callable[..., str]


@pytest.fixture
def run(small: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that submits an example and returns what it printed, once it has ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", sys.executable)
    up(str(small), lambda _: None)
    _, _, driver = made("small")

    def runner(name: str, limit_s: float) -> str:
        done = CliRunner().invoke(app, ["submit", "small", str(JOBS / name)])
        assert done.exit_code == 0, done.output
        number = done.output.strip()
        end = time.monotonic() + limit_s
        while queue(driver.environment()):
            assert time.monotonic() < end, "the job did not end"
            time.sleep(0.2)
        record = state / "small" / "log" / "finished.log"
        while not any(job["JobId"] == number for job in finished(record)):
            assert time.monotonic() < end, "the job was not recorded"
            time.sleep(0.1)
        (out,) = tmp_path.glob(f"*-{number}.out")
        (row,) = [job for job in finished(record) if job["JobId"] == number]
        assert row["JobState"] == "COMPLETED", out.read_text()
        assert not list(tmp_path.glob(".*-*"))  # it cleaned up behind itself
        return out.read_text()

    return runner


def test_pi_by_mpi_on_two_nodes(run: Run) -> None:
    if shutil.which("mpicc") is None:
        pytest.skip("no mpicc here: neither the mpich wheel nor an MPI of the system")
    said = run("pi.sh", 60)
    assert "rank 0 of 2 on n01" in said
    assert "rank 1 of 2 on n02" in said
    value = said.partition("pi = ")[2].partition(",")[0]
    assert value == "3.141592653590"


def test_silicon_by_pw(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECUTWFC", "12")
    said = run("pw.sh", 240)
    energy = float(said.partition("=")[2].split()[0])
    assert -18 < energy < -15  # Ry, two atoms


def test_two_processes_train_one_network(run: Run) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here")
    said = run("ddp.sh", 120)
    assert "weights equal on 2 processes" in said
    losses = [float(line.rpartition("loss ")[2]) for line in said.splitlines() if "loss " in line]
    assert len(losses) == 2
    assert max(losses) < 0.05
    assert "on n01" in said
    assert "on n02" in said
