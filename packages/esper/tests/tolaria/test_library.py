"""A training with blueprints of the library, and what it tells: nothing lost by any fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from esper.cli import app
from esper.config import parse_config
from esper.files import AlreadyLockedError, locked
from esper.lifecycle import State
from esper.oona.base import Bus, BusError
from esper.oona.memory import MemoryBus
from esper.oona.open import TRAINING
from esper.oona.redis import RedisBus
from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.ir import parse_blueprint
from esper.tezzeret.module import weights_from_bytes
from esper.tolaria.governor import TrainingError
from esper.tolaria.library import FROZEN, deposit, run_name
from esper.tolaria.loop import train
from esper.tolaria.run import Run, capture
from esper.urza.library import Library

GROWING: dict[str, Any] = {
    "network": {"widths": [8, 8]},
    "training": {"epochs": 4, "learning_rate": 0.01, "checkpoint_steps": 7},
    "growth": {
        "kind": "seeds",
        "trigger": "epochs",
        "at_epochs": [1],
        "training_steps": 8,
        "grafting_steps": 6,
        "stabilization_steps": 4,
        "fine_tuning_steps": 6,
        "rent": 0.0,
        "width": 4,
        "blueprints": ["gated"],
    },
}


class StopError(RuntimeError):
    pass


def stop_at(step: int) -> Any:
    def stop(run: Run) -> None:
        if run.step == step:
            raise StopError

    return stop


def weights(run: Run) -> dict[str, Any]:
    return {k: v.tolist() for k, v in capture(run)["model"].items()}


def test_a_blueprint_grows_and_its_graft_goes_into_the_library_once(tmp_path: Path) -> None:
    config = parse_config(GROWING)
    run = train(config, tmp_path / "w")
    (fossil,) = [s for s in run.model.lives() if s.state is State.FOSSILIZED]
    assert str(fossil.blueprint).startswith("gated@")
    name = run_name(config, tmp_path / "w")
    assert (deposit(run, config, name), deposit(run, config, name)) == (1, 1)
    library = Library.open()
    (graft,) = library.grafts()
    assert (graft.run, graft.site) == (name, fossil.site)
    verdict = next(e for e in run.history["events"] if "loss_with" in e)
    assert graft.contribution == verdict["loss_without"] - verdict["loss_with"]
    branch = run.model.seed_at(fossil.site).branch
    assert branch is not None
    stored = weights_from_bytes(library.store.get(graft.weights))
    assert all(bool((stored[k] == v).all()) for k, v in branch.state_dict().items())
    kernel = library.kernel(graft.kernel)
    assert (kernel.status, kernel.target.features, kernel.target.width) == ("ready", 8, 4)


@pytest.mark.parametrize("step", [20, 28, 37])
def test_a_training_goes_on_with_its_blueprint_though_the_library_is_gone(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = BUILTIN["gated"].model_dump(mode="json")
    value["nodes"][0]["out"] = value["nodes"][1]["out"] = "2*width"
    Library.open().add_blueprint(parse_blueprint({**value, "name": "wide"}))
    config = parse_config({**GROWING, "growth": {**GROWING["growth"], "blueprints": ["wide"]}})
    whole = train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        train(config, tmp_path / "cut", on_step=stop_at(step))
    monkeypatch.setenv("ESPER_LIBRARY", "/proc/none/library.db")
    again = train(config, tmp_path / "cut")
    assert weights(again) == weights(whole)
    (tmp_path / "cut" / FROZEN).write_text("{")
    with pytest.raises(TrainingError, match=r"blueprints\.json is damaged"):
        train(config, tmp_path / "cut")


def test_an_unknown_blueprint_is_refused_before_anything_starts(tmp_path: Path) -> None:
    config = parse_config({**GROWING, "growth": {**GROWING["growth"], "blueprints": ["gatd"]}})
    with pytest.raises(TrainingError, match=r"growth\.blueprints: .*'gatd'.*built in: bottleneck"):
        train(config, tmp_path)


def told(bus: Bus) -> list[str]:
    return [e.id.split(":", maxsplit=1)[1] for _, e in bus.replay(TRAINING)]


def test_all_is_told_in_order_and_once_however_often_it_goes_on(tmp_path: Path) -> None:
    config, bus = parse_config(GROWING), MemoryBus()
    with pytest.raises(StopError):
        train(config, tmp_path, on_step=stop_at(40), bus=bus)
    run = train(config, tmp_path, bus=bus)
    train(config, tmp_path, bus=bus)
    events = [f"event:{n}" for n in range(len(run.history["events"]))]
    found = told(bus)
    assert found[0] == "started"
    assert found[-1] == "finished"
    assert [i for i in found if "epoch" in i] == [f"epoch:{n}" for n in range(4)]
    assert [i for i in found if "event" in i] == events
    assert len(found) == len(set(found))
    messages = [e.message for _, e in bus.replay(TRAINING)]
    assert {m.run for m in messages} == {run_name(config, tmp_path)}  # type: ignore[union-attr]


class Flaky(MemoryBus):
    """Takes `good` messages, then is gone."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    def publish(self, topic: str, envelope: Any) -> str:
        if self.good <= 0:
            raise BusError("gone")
        self.good -= 1
        return super().publish(topic, envelope)


@pytest.mark.parametrize("good", [0, 1, 3, 6])
def test_a_bus_that_goes_does_not_stop_a_training_and_gets_the_rest_later(
    good: int, tmp_path: Path
) -> None:
    config, bus = parse_config(GROWING), Flaky(good)
    plain = train(config, tmp_path / "plain")
    run = train(config, tmp_path / "w", bus=bus)
    assert weights(run) == weights(plain)
    assert run.untold > 0
    assert run.bus_failure == "gone"
    bus.good = 1000
    assert train(config, tmp_path / "w", bus=bus).untold == 0
    found = told(bus)
    assert len(found) == len(set(found)) == 6 + len(run.history["events"])


@pytest.mark.real
def test_redis_dies_while_training(redis_server: Any, tmp_path: Path) -> None:
    config = parse_config({**GROWING, "bus": {"url": redis_server.url}})

    def kill(run: Run) -> None:
        if run.step == 20 and redis_server.process is not None:
            redis_server.kill()

    run = train(config, tmp_path, on_step=kill)
    assert run.untold > 0
    redis_server.start()
    assert train(config, tmp_path).untold == 0
    found = told(RedisBus(redis_server.url))
    assert len(found) == len(set(found)) == 6 + len(run.history["events"])


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AlreadyLockedError, match=r"process \d+ is at work in"):
        train(parse_config(GROWING), tmp_path)


def test_the_command_says_what_it_could_not_do_and_does_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, config, work = CliRunner(), tmp_path / "c.yaml", tmp_path / "w"
    config.write_text(json.dumps({**GROWING, "bus": {"url": "redis://127.0.0.1:9"}}))
    here = Library.open().engine.url.database
    monkeypatch.setenv("ESPER_LIBRARY", "/proc/none/library.db")
    done = runner.invoke(app, ["train", str(config), "--workdir", str(work)])
    assert done.exit_code == 0, done.output
    assert "events were not told (Redis: " in done.stderr
    assert "not in the library yet (/proc/none" in done.stderr
    monkeypatch.setenv("ESPER_LIBRARY", str(here))
    again = runner.invoke(app, ["train", str(config), "--workdir", str(work)])
    assert "not in the library" not in again.stderr
    assert len(Library.open().grafts()) == 1
