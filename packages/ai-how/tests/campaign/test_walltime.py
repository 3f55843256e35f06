"""Blocks end in time: no work begins that cannot end in its block, and the next takes the rest."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ai_how.cluster.lifecycle import made, up
from ai_how.cluster.profile import make_profile
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.execution.slurm_executor import SlurmExecutor
from pyacemaker.execution.slurm_provider import job_name

HERE = Path(__file__).parent


@pytest.mark.real
def test_a_block_takes_no_work_that_it_cannot_end(
    small: Path,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_job: Callable[[str, Sequence[str]], str],
) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    work = importlib.import_module("timed_work").work
    up(str(small), lambda _: None)
    _, plan, driver = made("small")
    profile = make_profile(plan, driver, tmp_path).execution
    settings = ExecutionSettings(
        **profile | {"blocks": 1, "walltime_min": 2, "longest_label_min": 4 / 3}
    )
    assert settings.label_window_s == pytest.approx(20)
    with SlurmExecutor(settings, tmp_path / "run") as executor:
        outcomes = list(executor.map_unordered(work, [5.0] * 6))
    assert [outcome.error for outcome in outcomes] == [None] * 6
    begun: dict[str, list[float]] = {}
    for outcome in outcomes:
        assert outcome.value is not None
        job, began, _ = outcome.value
        begun.setdefault(job, []).append(began)
    assert len(begun) >= 2  # twenty seconds take four of them
    for times in begun.values():
        assert max(times) - min(times) < 20
    name = job_name(tmp_path / "run")
    command = ["squeue", "-h", "--states=all", f"--name={name}", "-o", "%i %T"]
    states = dict(line.split() for line in run_job("small", command).splitlines())
    assert "TIMEOUT" not in states.values()
    assert states[min(begun, key=int)] == "COMPLETED"  # it ended by itself
