"""Fifty injected faults: whatever breaks, nothing is lost and what goes on is exact.

Each fault strikes at a step or a message of its own. The undisturbed training is the reference:
the same weights, moments, random states and history, bit for bit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from esper.config import DataConfig, parse_config
from esper.lifecycle import State
from esper.oona.base import BusError
from esper.oona.memory import MemoryBus
from esper.oona.open import TRAINING
from esper.tolaria.data import DataSet, Split, load
from esper.tolaria.governor import TrainingError
from esper.tolaria.loop import CHECKPOINT, HISTORY, train
from esper.tolaria.run import Run, capture
from esper.tolaria.run import load as load_run

CONFIG: dict[str, Any] = {
    "network": {"widths": [6, 6]},
    "training": {"epochs": 5, "batch_size": 32, "learning_rate": 0.01, "checkpoint_steps": 3},
    "growth": {
        "kind": "seeds",
        "trigger": "epochs",
        "at_epochs": [1],
        "training_steps": 4,
        "grafting_steps": 4,
        "stabilization_steps": 2,
        "fine_tuning_steps": 3,
        "embargo_steps": 6,
        "rent": 0.0,
        "width": 3,
    },
    "governor": {"snapshot_steps": 2},
}
STEPS = 25  # five epochs of five batches


@cache
def samples() -> DataSet:
    whole = load(DataConfig(), Path(), 0)

    def some(split: Split) -> Split:
        return Split(split.x[:160], split.y[:160])

    return DataSet(some(whole.train), some(whole.validation), some(whole.test), whole.classes)


@cache
def undisturbed() -> tuple[dict[str, Any], str]:
    run = train(parse_config(CONFIG), data=samples())
    assert any(s.state is State.FOSSILIZED for s in run.model.lives())
    return capture(run), json.dumps(run.history)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def exact(run: Run) -> bool:
    state, history = undisturbed()
    return same(capture(run), state) and json.dumps(run.history) == history


class CrashError(RuntimeError):
    pass


def crash_at(step: int) -> Any:
    def crash(run: Run) -> None:
        if run.step == step:
            raise CrashError

    return crash


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_crash_at_any_step_is_followed_by_the_very_same_training(
    step: int, tmp_path: Path
) -> None:
    config = parse_config(CONFIG)
    with pytest.raises(CrashError):
        train(config, tmp_path, data=samples(), on_step=crash_at(step))
    torch.rand(step)
    assert exact(train(config, tmp_path, data=samples()))


class GoneBus(MemoryBus):
    """Is gone for the messages with these numbers."""

    def __init__(self, gone: range) -> None:
        super().__init__()
        self.gone = gone
        self.count = 0

    def publish(self, topic: str, envelope: Any) -> str:
        self.count += 1
        if self.count - 1 in self.gone:
            raise BusError("gone")
        return super().publish(topic, envelope)


@pytest.mark.parametrize("first", range(0, 10, 2))
def test_a_bus_that_is_gone_for_a_while_changes_nothing(first: int, tmp_path: Path) -> None:
    config, bus = parse_config(CONFIG), GoneBus(range(first, first + 3))
    assert exact(train(config, tmp_path, data=samples(), bus=bus))
    while train(config, tmp_path, data=samples(), bus=bus).untold:
        pass
    ids = [e.id for _, e in bus.replay(TRAINING)]
    told = len(json.loads(undisturbed()[1])["events"]) + CONFIG["training"]["epochs"] + 2
    assert len(ids) == len(set(ids)) == told


@pytest.mark.parametrize("step", [7, 9, 11, 13, 15, 17, 19])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_branch_or_host_that_is_not_finite_is_rolled_back(step: int, value: float) -> None:
    struck = []

    def strike(run: Run) -> None:
        if run.step == step and not struck:
            struck.append(step)
            grown = [layer.branch for layer in run.model.layers() if layer.branch is not None]
            with torch.no_grad():
                next((grown[0] if grown else run.model.host).parameters()).fill_(value)

    run = train(parse_config(CONFIG), data=samples(), on_step=strike)
    assert run.epoch == CONFIG["training"]["epochs"]
    assert run.rollbacks >= 1
    assert [e["epoch"] for e in run.history["epochs"]] == [1, 2, 3, 4, 5]
    tensors = [*run.model.parameters(), *run.model.buffers()]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


@pytest.mark.parametrize("step", [4, 5, 8, 9, 13, 20])
def test_a_gradient_that_is_not_finite_spoils_no_snapshot(step: int, tmp_path: Path) -> None:
    """The loss of that step is sound; the weights behind it are not, whatever keeps them."""
    struck = []

    def strike(run: Run) -> None:
        if run.step == step - 1 and not struck:
            struck.append(step)
            weight = next(run.model.host.parameters())
            weight.register_hook(lambda gradient: gradient * float("nan"))

    run = train(parse_config(CONFIG), tmp_path, data=samples(), on_step=strike)
    assert run.rollbacks == 1
    assert run.epoch == CONFIG["training"]["epochs"]
    assert all(bool(torch.isfinite(p).all()) for p in run.model.parameters())
    again = load_run(tmp_path / CHECKPOINT, parse_config(CONFIG), samples())
    assert all(bool(torch.isfinite(p).all()) for p in again.model.parameters())


def test_a_rollback_goes_where_the_undisturbed_one_would_go(tmp_path: Path) -> None:
    config = parse_config({**CONFIG, "governor": {"snapshot_steps": 4}})

    def strike(run: Run) -> None:
        if run.step == 7 and run.rollbacks == 0:  # behind the checkpoint of step 6
            with torch.no_grad():
                next(run.model.host.parameters()).fill_(float("nan"))

    expected = capture(train(config, tmp_path / "whole", data=samples(), on_step=strike))
    with pytest.raises(CrashError):
        train(config, tmp_path / "torn", data=samples(), on_step=crash_at(6))
    found = train(config, tmp_path / "torn", data=samples(), on_step=strike)
    assert found.rollbacks == 1
    assert same(capture(found), expected)


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_torn_checkpoint_is_named_and_touches_nothing_else(keep: int, tmp_path: Path) -> None:
    config = parse_config(CONFIG)
    train(config, tmp_path, data=samples())
    history = (tmp_path / HISTORY).read_bytes()
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read.*remove it"):
        train(config, tmp_path, data=samples())
    assert (tmp_path / HISTORY).read_bytes() == history
    path.unlink()
    assert exact(train(config, tmp_path, data=samples()))


@pytest.mark.parametrize("state", ["training", "grafting"])
def test_kill_9_while_a_seed_is_at_work(state: str, tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        import importlib.util, time
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("faults", {__file__!r})
        faults = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(faults)
        faults.torch.set_num_threads(1)
        def wait(run):
            if any(s.state == {state!r} and s.age == 2 for s in run.model.lives()):
                print("here", flush=True)
                time.sleep(600)
        config = faults.parse_config(faults.CONFIG)
        faults.train(config, Path({str(tmp_path)!r}), data=faults.samples(), on_step=wait)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / f".{CHECKPOINT}.torn").write_bytes(b"what a kill in the middle of a write leaves")
    assert exact(train(parse_config(CONFIG), tmp_path, data=samples()))
    assert not list(tmp_path.glob(f".{CHECKPOINT}.*"))
