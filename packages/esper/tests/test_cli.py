"""The command, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esper.cli import app

runner = CliRunner()
CONFIG = """
network: {widths: [8]}
training: {epochs: 2}
growth: {kind: widen, trigger: epochs, at_epochs: [1], events: 1, final_widths: [12]}
"""


def test_train_runs_and_report(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    work = tmp_path / "work <b>"
    done = runner.invoke(app, ["train", str(config), "--workdir", str(work), "--json"])
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    assert outcome["widths"] == [12]
    assert outcome["parameters"] == 64 * 12 + 12 + 120 + 10
    again = runner.invoke(app, ["train", str(config), "--workdir", str(work), "--json"])
    assert json.loads(again.stdout) == outcome
    listed = runner.invoke(app, ["runs", str(tmp_path), "--json"])
    (row,) = json.loads(listed.stdout)
    assert (row["epochs"], row["of"], row["test_accuracy"]) == (2, 2, outcome["test_accuracy"])
    assert "small" not in runner.invoke(app, ["runs", str(tmp_path)]).stdout
    told = runner.invoke(app, ["report", str(work)])
    page = (work / "report.html").read_text()
    assert told.stdout.strip().replace("\n", "") == str(work / "report.html")
    assert "work &lt;b&gt;" in page
    assert "work <b>" not in page
    assert "widened" in page
    assert f"{outcome['test_accuracy']:.4f}" in page
    assert 'src="http' not in page


def test_refusals_exit_2_with_one_line(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("data: {source: cifar.npz}")
    done = runner.invoke(app, ["train", str(config)])
    assert done.exit_code == 2
    assert "key 'data.source'" in done.stderr
    assert "cifar.npz" in done.stderr
    config.write_text("trainin: {}")
    assert runner.invoke(app, ["train", str(config)]).exit_code == 2
    assert runner.invoke(app, ["report", str(tmp_path)]).exit_code == 2
    config.write_text("data: {source: digits}\nnetwork: {kind: mlp, widths: [8]}\n")
    done = runner.invoke(app, ["train", str(config), "--workdir", str(config)])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "is a file; name a work directory" in done.stderr
    assert runner.invoke(app, ["runs", str(tmp_path)]).exit_code == 0
    (tmp_path / "history.json").write_text("{}")
    assert "not a training's history" in runner.invoke(app, ["report", str(tmp_path)]).stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from esper.cli import app\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'sqlalchemy', 'yaml', 'esper.config'}\n"
        "assert not heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "esper" in done.stdout or "Usage" in done.stdout
