"""The library's commands, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esper.cli import app
from esper.oona.envelopes import BlueprintAdded, Envelope
from esper.tezzeret.builtin import BUILTIN

runner = CliRunner()


def test_blueprints_kernels_and_their_lineage(tmp_path: Path) -> None:
    shown = runner.invoke(app, ["blueprints", "show", "mlp"])
    value = {**json.loads(shown.stdout), "name": "mine"}
    value["nodes"][0]["out"] = "2*width"
    (tmp_path / "b.json").write_text(json.dumps(value))
    added = runner.invoke(
        app, ["blueprints", "add", str(tmp_path / "b.json"), "--parent", "mlp", "--json"]
    )
    assert added.exit_code == 0, added.output
    key = json.loads(added.stdout)["id"]
    listed = json.loads(runner.invoke(app, ["blueprints", "--json"]).stdout)
    assert {row["name"] for row in listed} == {"mine", *BUILTIN}
    assert [row["builtin"] for row in listed if row["name"] in {"mine", "mlp"}] == [False, False]
    forged = runner.invoke(app, ["forge", "mine", "--features", "4", "--width", "2"])
    assert forged.exit_code == 0, forged.output
    assert "ok     gradcheck" in forged.stdout
    (kernel,) = json.loads(runner.invoke(app, ["kernels", "--features", "4", "--json"]).stdout)
    assert kernel["blueprint"] == key
    assert json.loads(runner.invoke(app, ["kernels", "show", kernel["id"]]).stdout) == kernel
    assert json.loads(runner.invoke(app, ["kernels", "mend", kernel["id"]]).stdout) == kernel
    told = runner.invoke(app, ["lineage", "mine"]).stdout
    assert f"kernel {kernel['id'][:12]} ready, 4 features, width 2" in told
    assert "mine" in runner.invoke(app, ["blueprints"]).stdout
    assert runner.invoke(app, ["forge", "--jobs"]).exit_code == 0


def test_a_blueprint_that_fails_exits_1_with_the_check(tmp_path: Path) -> None:
    done = runner.invoke(app, ["forge", "conv3x3", "--features", "4"])
    assert done.exit_code == 1
    assert "FAILED build: the blueprint 'conv3x3' needs a Conv2d" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["blueprints", "add", "none.json"], 2, "none.json: cannot be read"),
        (["blueprints", "show", "nobody"], 2, "no blueprint 'nobody'"),
        (["kernels", "show", "none"], 2, "no kernel 'none'"),
        (["forge"], 2, "name a BLUEPRINT, or --jobs"),
        (["lineage", "none"], 2, "no blueprint 'none'"),
        (["blueprints", "--library", "mysql://x/y"], 1, "postgresql://"),
        (["events", "--bus", "kafka://x"], 1, "use memory: or redis://"),
        (["events", "--bus", "redis://127.0.0.1:9"], 1, "Redis: "),
        (["serve", "--host", "0.0.0.0"], 2, "--token-file"),
        (["serve", "--token-file", "none"], 2, "cannot be read"),
    ],
)
def test_refusals(arguments: list[str], code: int, message: str) -> None:
    done = runner.invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_upgrade_says_the_revision() -> None:
    done = runner.invoke(app, ["library", "upgrade"])
    assert done.exit_code == 0, done.output
    assert "is at revision 0002" in done.stdout


@pytest.mark.real
def test_events_of_a_real_bus(redis_server: object) -> None:
    from esper.oona.redis import RedisBus

    bus = RedisBus(redis_server.url)  # type: ignore[attr-defined]
    message = BlueprintAdded(blueprint="b", name="mlp")
    bus.publish("training", Envelope(id="one", source="t", message=message))
    bus.reject(bus.read("training", "g", "c")[0], "no")
    done = runner.invoke(app, ["events", "--bus", redis_server.url])  # type: ignore[attr-defined]
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["message"] == {
        "kind": "blueprint_added",
        "blueprint": "b",
        "name": "mlp",
    }
    command = ["events", "--bus", redis_server.url, "--dead"]  # type: ignore[attr-defined]
    dead = runner.invoke(app, [*command, "--resend"])
    assert json.loads(dead.stdout)["reason"] == "no"
    assert runner.invoke(app, command).stdout == ""
