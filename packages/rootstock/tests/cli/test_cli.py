"""The command line as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rootstock.cli.app import app
from rootstock.cli.serving import address_options
from rootstock.root.errors import RootError
from rootstock.root.layout import Layout
from rootstock.root.manifest import Failure, ModelRecord, changed_manifest, read_manifest

runner = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"})
Pretend = Callable[..., Path]
Write = Callable[..., Path]


def test_help_teaches_the_commands_and_the_exit_codes() -> None:
    shown = runner.invoke(app, ["--help"]).output
    for word in ("init", "build", "list", "status", "register", "add", "verify", "remove"):
        assert word in shown
    for word in ("serve", "benchmark", "clusters", "Exit codes"):
        assert word in shown


def test_it_is_installed() -> None:
    command = Path(sys.executable).parent / "rootstock"
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("rootstock 0.")


def test_init_makes_a_root_once(tmp_path: Path) -> None:
    root = tmp_path / "a" / "root"
    done = runner.invoke(app, ["init", "--root", str(root)])
    assert done.exit_code == 0
    assert f"rootstock build chgnet --root {root}" in done.output
    assert (root / "manifest.json").is_file()
    again = runner.invoke(app, ["init", "--root", str(root)])
    assert again.exit_code == 0
    assert "there already" in again.output
    done = runner.invoke(app, ["init", "--root", str(tmp_path / "a")])
    assert done.exit_code == 2
    assert "holds something else" in done.output


def test_the_root_may_come_from_the_environment(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = runner.invoke(app, ["status"])
    assert done.exit_code == 2
    assert "ROOTSTOCK_ROOT" in done.output
    monkeypatch.setenv("ROOTSTOCK_ROOT", str(layout.folder))
    done = runner.invoke(app, ["status"])
    assert done.exit_code == 0
    assert "nothing is built yet" in done.output
    done = runner.invoke(app, ["status", "--root", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "rootstock init" in done.output
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "rootstock").mkdir()
    (tmp_path / "rootstock" / "clusters.yaml").write_text(f"clusters: {{ours: {layout.folder}}}\n")
    assert runner.invoke(app, ["status", "--cluster", "ours"]).exit_code == 0
    done = runner.invoke(app, ["status", "--cluster", "ours", "--root", "x"])
    assert done.exit_code == 2


def test_list_names_models_and_licences(layout: Layout, write_source: Write) -> None:
    write_source(layout.environments, "mine_env", facts='summary = "my own"')
    (layout.environments / "bad_env.py").write_text("def setup(")
    done = runner.invoke(app, ["list", "--root", str(layout.folder)])
    assert done.exit_code == 0
    for word in ("chgnet", "mace-medium", "MIT", "my own", "built in", "not Python"):
        assert word in done.output
    rows = json.loads(runner.invoke(app, ["list", "--root", str(layout.folder), "--json"]).output)
    by_name = {row["name"]: row for row in rows}
    assert by_name["mine"]["origin"] == "added"
    assert by_name["fairchem"]["aliases"] == ["uma"]
    assert not by_name["chgnet"]["built"]
    assert "error" in by_name["bad"]


def test_status_per_model(layout: Layout, pretend_built: Pretend) -> None:
    pretend_built("mace_env")
    with changed_manifest(layout) as manifest:
        manifest.models["mace-mine"] = ModelRecord(
            "mace_env", "mine", size_bytes=5_000_000, last_error=Failure("t", "it broke")
        )
        manifest.errors["tblite_env"] = Failure("t", "no space left")
    done = runner.invoke(app, ["status", "--root", str(layout.folder)])
    assert done.exit_code == 0
    for word in ("mace-mine", "it broke", "tblite_env", "last build failed: no space left"):
        assert word in done.output
    found = json.loads(runner.invoke(app, ["status", "-r", str(layout.folder), "--json"]).output)
    assert found["models"]["mace-mine"]["built"]
    assert found["models"]["mace-mine"]["verified"] == {}
    assert found["models"]["mace-mine"]["last_error"]["message"] == "it broke"
    assert found["environments"]["tblite_env"]["built"] is None


def test_add_judges_a_file_and_replaces_only_when_told(
    layout: Layout, write_source: Write, tmp_path: Path
) -> None:
    where = ["--root", str(layout.folder)]
    path = write_source(tmp_path, "mine")
    done = runner.invoke(app, ["add", str(path), *where])
    assert done.exit_code == 0
    assert "rootstock build mine" in done.output
    assert layout.source("mine_env").read_text() == path.read_text()
    assert runner.invoke(app, ["add", str(path), *where]).exit_code == 0, "nothing differs"
    write_source(tmp_path, "mine", body="raise RuntimeError('now otherwise')")
    done = runner.invoke(app, ["add", str(path), *where])
    assert done.exit_code == 2
    assert "--replace" in done.output
    assert runner.invoke(app, ["add", str(path), "--replace", *where]).exit_code == 0
    path.write_text("def setup(device): ...")
    done = runner.invoke(app, ["add", str(path), *where])
    assert done.exit_code == 2
    assert "setup must be" in done.output
    assert runner.invoke(app, ["add", "chgnet", *where]).exit_code == 0
    assert layout.source("chgnet_env").is_file()


def test_register_refuses_names_that_mean_nothing(layout: Layout, tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"w")
    where = ["--root", str(layout.folder)]
    for words, said in (
        (["foo-bar", str(weights)], "does not begin with an environment's name"),
        (["mace-a/b", str(weights)], "must be of letters"),
        (["mace-mine", str(tmp_path / "nowhere")], "is not there"),
        (["mace-mine", str(weights), "--elements", "Xx"], "no such element"),
    ):
        done = runner.invoke(app, ["register", *words, *where])
        assert done.exit_code == 2, words
        assert said in done.output
    done = runner.invoke(app, ["register", "mace-mine", str(weights), *where])
    assert done.exit_code == 0
    assert "not built yet" in done.output
    record = read_manifest(layout).models["mace-mine"]
    (path,) = record.weights
    assert (layout.folder / path).read_bytes() == b"w"
    assert record.size_bytes == 1


def test_remove_asks_or_wants_yes(layout: Layout, pretend_built: Pretend) -> None:
    pretend_built("mace_env")
    where = ["--root", str(layout.folder)]
    done = runner.invoke(app, ["remove", "mace", *where])
    assert done.exit_code == 2
    assert "say --yes" in done.output
    assert layout.current("mace_env") is not None
    done = runner.invoke(app, ["remove", "mce", *where])
    assert done.exit_code == 2
    assert "did you mean mace" in done.output
    assert runner.invoke(app, ["remove", "mace", "--yes", *where]).exit_code == 0
    assert layout.current("mace_env") is None
    assert not layout.source("mace_env").exists()
    assert list(layout.versions.iterdir()) == []


def test_verify_finds_what_is_broken(layout: Layout, pretend_built: Pretend) -> None:
    folder = pretend_built("mace_env")
    with changed_manifest(layout) as manifest:
        manifest.models["mace"] = ModelRecord("mace_env", "")
    (folder / "mace_env.py").write_text("changed")
    done = runner.invoke(app, ["verify", "--checksums", "--root", str(layout.folder)])
    assert done.exit_code == 1
    assert "is not what it was built from" in done.output
    assert "not what it was built" in str(read_manifest(layout).models["mace"].last_error)
    done = runner.invoke(app, ["verify", "mcae", "--root", str(layout.folder)])
    assert done.exit_code == 2


def test_clusters_with_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    done = runner.invoke(app, ["clusters"])
    assert "/vol/rootstock  (built in)" in done.output
    assert str(tmp_path / "rootstock" / "clusters.yaml") in done.output
    rows = json.loads(runner.invoke(app, ["clusters", "--json"]).output)
    assert {row["name"] for row in rows} == {"modal", "della"}


@pytest.mark.parametrize(
    "words",
    [
        ["build", "chgnet", "--models", "a", "--no-models"],
        ["build", "chgnet", "--device", "tpu"],
        ["build", "chgnett"],
        ["build", "emt"],
        ["build", "chgnet", "--option", "novalue"],
        ["benchmark", "emt", "--atoms", "many"],
        ["serve", "emt", "nowhere:port"],
        ["serve", "mace", "localhost:31415"],
    ],
)
def test_bad_requests_are_refused_before_anything_is_done(layout: Layout, words: list[str]) -> None:
    done = runner.invoke(app, [*words, "--root", str(layout.folder)])
    assert done.exit_code == 2, done.output
    assert list(layout.versions.iterdir()) == []


def test_addresses(tmp_path: Path) -> None:
    assert address_options("localhost:31415") == ["--host", "localhost", "--port", "31415"]
    path = tmp_path / "ipi:socket"
    with pytest.raises(RootError, match="no server listens"):
        address_options(str(path))
    path.touch()
    assert address_options(str(path)) == ["--socket", str(path)]
    with pytest.raises(RootError, match="HOST:PORT"):
        address_options("localhost:99999")
