"""Training, its checkpoints, its growth and its governor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from esper.config import Config, parse_config
from esper.lifecycle import State
from esper.tolaria.governor import TrainingError, diverged
from esper.tolaria.loop import CHECKPOINT, HISTORY, train
from esper.tolaria.run import Run, capture

QUICK = {"training_steps": 12, "grafting_steps": 10, "stabilization_steps": 4}
SEEDS: dict[str, Any] = {
    "network": {"widths": [8, 8]},
    "training": {"epochs": 5, "learning_rate": 0.01, "checkpoint_steps": 7},
    "growth": {
        "kind": "seeds",
        "trigger": "epochs",
        "at_epochs": [1],
        "fine_tuning_steps": 10,
        "rent": 0.0,
        **QUICK,
    },
}
WIDEN: dict[str, Any] = {
    "network": {"widths": [4, 6]},
    "training": {"epochs": 4, "learning_rate": 0.01, "checkpoint_steps": 7},
    "growth": {
        "kind": "widen",
        "trigger": "epochs",
        "at_epochs": [1, 2],
        "final_widths": [8, 12],
        "operator": "random",
        "newborn_boost": 3.0,
        "newborn_steps": 40,
    },
}


def same(a: Any, b: Any) -> bool:
    """Compare nested values; tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


class StopError(RuntimeError):
    pass


@pytest.mark.parametrize("value", [SEEDS, WIDEN], ids=["seeds", "widen"])
@pytest.mark.parametrize("stop_at", [9, 31, 45, 60])
def test_a_resumed_training_is_bit_for_bit_the_undisturbed(
    value: dict[str, Any], stop_at: int, tmp_path: Path
) -> None:
    config = parse_config(value)
    whole = capture(train(config, tmp_path / "whole"))

    def stop(run: Run) -> None:
        if run.step == stop_at:
            raise StopError

    torch.manual_seed(99)  # the resume must not depend on what the process did before
    with pytest.raises(StopError):
        train(config, tmp_path / "cut", on_step=stop)
    torch.rand(5)
    again = capture(train(config, tmp_path / "cut"))
    assert same(again, whole)
    first = json.loads((tmp_path / "whole" / HISTORY).read_text())
    assert json.loads((tmp_path / "cut" / HISTORY).read_text()) == first


def test_a_kill_in_grafting_loses_nothing(tmp_path: Path) -> None:
    config = parse_config(SEEDS)
    whole = capture(train(config))
    code = textwrap.dedent(
        f"""
        import os, time, torch
        from pathlib import Path
        from esper.config import parse_config
        from esper.lifecycle import State
        from esper.tolaria.loop import train
        torch.set_num_threads(1)
        def wait(run):
            grafting = [s for s in run.model.lives() if s.state is State.GRAFTING]
            if grafting and grafting[0].age == 5:
                print("here", flush=True)
                time.sleep(60)
        train(parse_config({SEEDS!r}), Path({str(tmp_path)!r}), on_step=wait)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / CHECKPOINT).exists()
    assert same(capture(train(config, tmp_path)), whole)


def test_seeds_live_their_lives_and_stay_if_they_pay() -> None:
    run = train(parse_config(SEEDS))
    kinds = [event["kind"] for event in run.history["events"]]
    assert kinds == [
        "germinated", "grafting", "stabilization", "evaluating", "fine_tuning", "fossilized",
    ]  # fmt: skip
    verdict = run.history["events"][4]
    gain = verdict["loss_without"] - verdict["loss_with"]
    assert verdict["reward"] == pytest.approx(gain) and gain > 0
    assert sum(s.state is State.FOSSILIZED for s in run.model.lives()) == 1


def test_a_seed_that_does_not_pay_its_rent_is_culled() -> None:
    value = {**SEEDS, "growth": {**SEEDS["growth"], "rent": 1e6}}
    run = train(parse_config(value))
    assert [event["kind"] for event in run.history["events"]][-1] == "culled"
    assert run.history["epochs"][-1]["parameters"] == sum(
        p.numel() for p in run.model.host.parameters()
    )
    assert run.seed_groups == []
    assert len(run.optimizer.param_groups) == 1
    assert len(run.optimizer.state) == len(list(run.model.host.parameters()))


def test_widening_ends_at_the_final_widths() -> None:
    run = train(parse_config(WIDEN))
    assert [e["widths"] for e in run.history["epochs"]] == [[4, 6], [6, 9], [8, 12], [8, 12]]
    flops = [e["flops"] for e in run.history["epochs"]]
    assert flops[3] - flops[2] > flops[0]


def test_flops_are_those_of_the_layers() -> None:
    """Forwards 2 per weight and sample, backwards twice that, but none for the input."""
    config = parse_config({"network": {"widths": [8]}, "training": {"epochs": 1}})
    run = train(config)
    samples = 1040
    assert run.flops == samples * (2 * (64 * 8) * 2 + 2 * (8 * 10) * 3)


def poison(step: int, once: bool = True) -> Any:
    """Return a callback that makes a weight NaN after a step."""
    done = []

    def on_step(run: Run) -> None:
        if run.step == step and not (once and done):
            done.append(step)
            seeds = [layer for layer in run.model.layers() if layer.branch is not None]
            target = seeds[0].branch if seeds else run.model.host
            assert target is not None
            with torch.no_grad():
                next(iter(target.parameters())).fill_(float("nan"))

    return on_step


def test_the_governor_rolls_back_a_seed_and_keeps_the_host() -> None:
    seen: dict[int, Any] = {}
    spoil = poison(38)

    def watch(run: Run) -> None:
        seen.setdefault(run.step, capture(run)["model"])
        spoil(run)

    run = train(parse_config(SEEDS), on_step=watch)
    (event,) = [e for e in run.history["events"] if e["kind"] == "rollback"]
    assert "nan" in event["why"]
    assert (event["at_step"], event["step"]) == (38, 35)  # back to the last checkpoint
    assert len(event["sites"]) == 1
    seed = run.model.seed_at(event["sites"][0]).seed
    assert seed.state is State.ROLLED_BACK
    assert seed.lives == 1
    assert all(bool(torch.isfinite(p).all()) for p in run.model.parameters())
    assert run.history["epochs"][-1]["epoch"] == 5
    # the host after the rollback is the snapshot's own
    host = {k: v for k, v in seen[35].items() if k.startswith("host.")}
    assert all(bool(torch.isfinite(v).all()) for v in host.values())


def test_fossils_survive_a_rollback_and_the_learning_rate_falls() -> None:
    def spoil_host(run: Run) -> None:
        if run.step == 80 and run.rollbacks == 0:
            with torch.no_grad():
                next(iter(run.model.host.parameters())).fill_(float("inf"))

    run = train(parse_config(SEEDS), on_step=spoil_host)
    (event,) = [e for e in run.history["events"] if e["kind"] == "rollback"]
    assert event["sites"] == []
    assert run.learning_rate == pytest.approx(0.005)
    assert {group["lr"] for group in run.optimizer.param_groups} == {run.learning_rate}
    assert sum(s.state is State.FOSSILIZED for s in run.model.lives()) == 1
    assert all(bool(torch.isfinite(p).all()) for p in run.model.parameters())


def test_what_never_recovers_fails_with_the_remedy() -> None:
    value = {"training": {"epochs": 3}, "governor": {"max_rollbacks": 2}}
    with pytest.raises(TrainingError, match=r"after 2 rollbacks; lower training\.learning_rate"):
        train(parse_config(value), on_step=poison(3, once=False))


def test_divergence_by_figures() -> None:
    assert diverged(1.0, [1.0] * 50, 20, 50) is None
    assert diverged(30.0, [1.0] * 10, 20, 50) is None  # too little is known
    assert "20 times" in str(diverged(30.0, [1.0] * 50, 20, 50))
    assert "inf" in str(diverged(float("inf"), [], 20, 50))


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    config = parse_config({"training": {"epochs": 1}})
    train(config, tmp_path)
    with pytest.raises(TrainingError, match="another configuration"):
        train(parse_config({"training": {"epochs": 2}}), tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read.*remove it"):
        train(config, tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save({"config": Evil()}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match="cannot be read"):
        train(Config(), tmp_path)
    assert not (tmp_path / "evil").exists()


def test_digits_are_learnt() -> None:
    value = {"network": {"widths": [32]}, "training": {"epochs": 15, "learning_rate": 0.01}}
    began = time.monotonic()
    run = train(parse_config(value))
    assert run.history["epochs"][-1]["validation_accuracy"] > 0.93
    assert time.monotonic() - began < 300  # a hang, not a speed
