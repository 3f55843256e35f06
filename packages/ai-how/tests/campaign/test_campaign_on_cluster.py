"""A campaign of pyacemaker on a cluster that ai-how made, while one of its nodes is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai_how.cli.app import app
from ai_how.cluster.lifecycle import status, up
from ai_how.drivers.daemons import daemons_of, end, end_jobs, job_processes

pytestmark = pytest.mark.real
HERE = Path(__file__).parent

CAMPAIGN = """\
elements: [Cu]
seed: 3
workers: 1
temperatures_K: [300]
oracle: {code: ase, calculator: slow_emt.SlowEMT}
trainer: {functions_per_element: 20, cutoff_A: 5.0, max_body_order: 3}
dynamics: {engine: ase, md_ps: 0.2, timestep_fs: 2, atoms: 8, gamma_select: 20, gamma_halt: 50}
validation:
  gates: [eos]
  test_force_rmse_eV_per_A: 5
  test_energy_rmse_eV_per_atom: 1
  test_frames_per_temperature: 1
budget: {initial_labels: 10, labels_per_iteration: 4, labels: 30, max_atoms: 4}
"""


@pytest.fixture
def campaign(small: Path, tmp_path: Path) -> Iterator[Path]:
    """A campaign's file whose `execution` was written by `ai-how profile`; its cluster is up."""
    up(str(small), lambda _: None)
    path = tmp_path / "cu.yaml"
    path.write_text(CAMPAIGN)
    done = CliRunner().invoke(app, ["profile", "small", "--output", str(path)])
    assert done.exit_code == 0, done.output
    yield path


def labels(workdir: Path) -> list[str]:
    """The lines of the store's log, one for every label handed in."""
    log = workdir / "labels" / "computed.log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_node_is_killed_and_no_label_is_lost_or_repeated(
    campaign: Path, state: Path, tmp_path: Path
) -> None:
    workdir, hold, began = (tmp_path / name for name in ("work", "hold", "began"))
    environment = os.environ | {
        "PYTHONPATH": str(HERE),
        "OMP_NUM_THREADS": "1",
        "SLOW_EMT": str(tmp_path),
    }
    program = [sys.executable, "-c", "from pyacemaker.cli import main; main()"]
    command = [*program, "run", str(campaign), "--workdir", str(workdir), "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            until(lambda: len(labels(workdir)) == 1, run)  # the isolated atom
            hold.touch()
            until(lambda: set(began.read_text().split()[1:]) == {"n01", "n02"}, run)
            victim = began.read_text().split()[-1]  # it is at a label, and cannot end it
            end((d.pid for d in daemons_of(state / "small") if d.node == victim), at_once=True)
            end_jobs(state / "small", victim)
            hold.unlink()
            said, errors = run.communicate(timeout=150)
        finally:
            run.kill()
    events = [json.loads(line) for line in said.splitlines()]
    assert events, errors
    assert events[-1]["ending"] == "converged", (events[-1], errors)

    lines = [line.split() for line in labels(workdir)]
    keys = [key for key, _, _ in lines]
    assert len(keys) == len(set(keys)) >= 11  # each once
    assert {how for _, _, how in lines} == {"new"}
    nodes = began.read_text().split()
    assert set(nodes) == {"n01", "n02"}  # none on this machine itself
    assert len(nodes) == len(keys) + 1  # only what the node was at was begun again, elsewhere
    assert any(event.get("step") == "md" for event in events)
    assert not job_processes(state / "small")  # no pilot is left

    found = status("small")
    assert found.condition == "degraded"
    assert any(
        problem.startswith(f"{victim}: ") and "slurmd does not run" in problem
        for problem in found.problems
    )
    assert up("small", lambda _: None).condition == "up"


def until(true: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + 120
    while not true():
        assert run.poll() is None, run.stderr.read() if run.stderr else ""
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.05)
