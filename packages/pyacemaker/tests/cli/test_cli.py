"""The command line as a user meets it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pyacemaker
from pyacemaker.campaign.state import CampaignState
from pyacemaker.cli.app import app
from pyacemaker.cli.watch import duration
from pyacemaker.files import locked

runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})

EMT = "elements: [Cu]\noracle: {code: ase, calculator: ase.calculators.emt.EMT}\n"


def test_help_teaches_the_commands_and_the_exit_codes() -> None:
    shown = runner.invoke(app, ["--help"]).output
    told = ("init", "run", "status", "report", "build-plugin", "build-eon", "config", "Exit codes")
    for word in told:
        assert word in shown


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).output == f"pyacemaker {pyacemaker.__version__}\n"


def test_both_names_are_installed() -> None:
    folder = Path(sys.executable).parent
    for name in ("pyacemaker", "mlip-runner"):
        shown = subprocess.run(
            [folder / name, "--version"], capture_output=True, text=True, check=False
        )
        assert shown.stdout == f"pyacemaker {pyacemaker.__version__}\n"


@pytest.mark.parametrize("words", [["Al", "Cu"], ["Al,Cu"], ["Al", "-e", "Cu"]])
def test_init_writes_a_file_that_loads_and_is_not_overwritten(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, ["init", "--elements", *words])
    assert done.exit_code == 0, done.output
    assert "pyacemaker run config.yaml" in done.output
    text = (tmp_path / "config.yaml").read_text()
    assert "elements: [Al, Cu]" in text
    again = runner.invoke(app, ["init", "--elements", *words])
    assert again.exit_code == 2
    assert "--force" in again.output
    assert runner.invoke(app, ["init", "--force", "--elements", "Cu"]).exit_code == 0


def test_init_refuses_what_is_no_element(tmp_path: Path) -> None:
    done = runner.invoke(app, ["init", "-e", "Xx", "-o", str(tmp_path / "c.yaml")])
    assert done.exit_code == 2
    assert "Xx" in done.output
    assert not (tmp_path / "c.yaml").exists()


def test_a_misspelt_key_is_refused_with_file_line_and_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(EMT + "temperatur: [300]\n")
    for command in (["run", str(path), "-w", str(tmp_path / "w")], ["config", "show", str(path)]):
        done = runner.invoke(app, command)
        assert done.exit_code == 2
        line = done.output.replace("\n", " ")
        assert "bad.yaml:3" in line
        assert "temperatures_K" in line
    assert not (tmp_path / "w").exists()


def test_config_show_names_every_source(tmp_path: Path) -> None:
    path = tmp_path / ("a folder with a long name " * 4) / "cu.yaml"
    path.parent.mkdir()
    path.write_text(EMT + "seed: 5\n")
    shown = runner.invoke(app, ["config", "show", str(path)]).output
    assert "seed: 5" in shown
    assert f"    {path}:3, " in shown  # never broken: a pipe has no width
    assert "melting point" in shown
    rows = json.loads(runner.invoke(app, ["config", "show", str(path), "--json"]).output)
    by_key = {row["key"]: row for row in rows}
    assert by_key["seed"]["kind"] == "user"
    assert by_key["temperatures_K"]["kind"] == "physics"
    assert all(row["explanation"] for row in rows)


def test_the_schema_is_json_schema() -> None:
    schema = json.loads(runner.invoke(app, ["config", "schema"]).output)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "elements" in schema["properties"]


def test_status_and_report_of_nothing(tmp_path: Path) -> None:
    for command in ("status", "report"):
        done = runner.invoke(app, [command, str(tmp_path)])
        assert done.exit_code == 2
        assert "no campaign here" in done.output
    assert list(tmp_path.iterdir()) == []


def test_status_of_a_campaign_that_has_just_begun(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.set_fact("settings", {"elements": ["Cu"], "budget": {"labels": 40}})
    state.close()
    found = json.loads(runner.invoke(app, ["status", str(tmp_path), "--json"]).output)
    assert (found["status"], found["labels"], found["label_budget"]) == ("interrupted", 0, 40)
    with locked(tmp_path / ".lock"):
        found = json.loads(runner.invoke(app, ["status", str(tmp_path), "--json"]).output)
    assert found["status"] == "running"
    assert "0 of at most 40" in runner.invoke(app, ["status", str(tmp_path)]).output


@pytest.mark.real
def test_a_second_run_in_one_work_directory_is_refused(tmp_path: Path) -> None:
    config, work = tmp_path / "cu.yaml", tmp_path / "work"
    config.write_text(EMT + "dynamics: {engine: ase}\n")
    work.mkdir()
    with locked(work / ".lock"):
        done = runner.invoke(app, ["run", str(config), "--workdir", str(work)])
    assert done.exit_code == 2
    assert "another run works" in done.output
    assert str(os.getpid()) in done.output


def test_a_work_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    config, work = tmp_path / "cu.yaml", tmp_path / "work"
    config.write_text(EMT)
    work.write_text("")
    done = runner.invoke(app, ["run", str(config), "--workdir", str(work)])
    assert done.exit_code == 2
    assert "cannot be the work directory (" in done.output
    assert "File exists" in done.output


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "labels"))

    config = tmp_path / "cu.yaml"
    config.write_text(EMT + "dynamics: {engine: ase}\n")
    monkeypatch.setattr("pyacemaker.cli.running.run_campaign", full)
    done = runner.invoke(app, ["run", str(config), "--workdir", str(tmp_path / "work dir")])
    assert done.exit_code == 1
    assert "labels: No space left on device" in done.output
    assert "work dir'" in done.output  # the command to go on with can be pasted


def test_whatever_a_campaign_failed_of_its_status_is_failed(tmp_path: Path) -> None:
    config, work, code = tmp_path / "si.yaml", tmp_path / "work", tmp_path / "pw.x"
    code.write_text("#!/nonexistent/interpreter\n")
    code.chmod(0o755)
    config.write_text(f"elements: [Si]\noracle: {{command: {code}}}\ndynamics: {{engine: ase}}\n")
    done = runner.invoke(app, ["run", str(config), "--workdir", str(work)])
    assert done.exit_code == 1
    found = json.loads(runner.invoke(app, ["status", str(work), "--json"]).output)
    assert found["status"] == "failed"
    assert f"{code} cannot be started" in found["reason"]


@pytest.mark.real
def test_a_code_that_never_converges_is_not_called_a_low_cutoff(tmp_path: Path) -> None:
    config, code = tmp_path / "si.yaml", tmp_path / "pw.sh"
    code.write_text(
        "#!/bin/sh\ncat > /dev/null\necho '     Program PWSCF v.7.2 starts'\n"
        "echo '     convergence NOT achieved after 100 iterations: stopping'\necho '   JOB DONE.'\n"
    )
    code.chmod(0o755)
    config.write_text(
        f"elements: [Si]\noracle: {{command: {code}, ecutwfc_Ry: 30, max_attempts: 1}}\n"
        "dynamics: {engine: ase}\n"
    )
    done = runner.invoke(app, ["run", str(config), "--workdir", str(tmp_path / "work")])
    assert done.exit_code == 1
    assert "could not be labelled at any cutoff" in done.output
    assert "not converge" in done.output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (185, "3 min 05 s"), (7640, "2 h 07 min")],
)
def test_duration_reads_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        ("{code: ase, calculator: ase.calculators.emt.EMTT}", "has no 'EMTT'"),
        ("{code: ase, calculator: ase.calculators.vasp.Vasp, kwargs: {xc: 7}}", "oracle.kwargs"),
        ("{command: no-such-pw.x, ecutwfc_Ry: 30, ecutrho_Ry: 120}", "no program 'no-such-pw.x'"),
    ],
)
def test_an_oracle_that_cannot_be_had_is_refused_before_work_starts(
    tmp_path: Path, oracle: str, words: str
) -> None:
    config, work = tmp_path / "cu.yaml", tmp_path / "work"
    config.write_text(f"elements: [Cu]\noracle: {oracle}\ndynamics: {{engine: ase}}\n")
    done = runner.invoke(app, ["run", str(config), "--workdir", str(work)])
    assert done.exit_code == 1
    assert words in done.output
    assert not list(work.iterdir())
