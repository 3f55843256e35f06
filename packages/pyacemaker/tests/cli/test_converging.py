"""`pyacemaker converge` as a user meets it: a whole study by the real pw.x, killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyacemaker.cli.app import app
from pyacemaker.config.load import load_config
from pyacemaker.config.resolve import resolve
from pyacemaker.oracle.settings import EspressoSettings

TEXT = """\
# silicon, roughly
elements: [Si]
oracle:
  ecutwfc_Ry: 16 # a guess
  # four times that
  ecutrho_Ry: 64
  kspacing_per_A: 0.6

workers: 2 # both cores
"""
OPTIONS = ["--force", "0.02", "--stress", "1", "--energy", "5"]
WAIT_S = 300.0


def command(*options: str) -> list[str]:
    return [str(Path(sys.executable).parent / "pyacemaker"), "converge", "si.yaml", *options]


def labels_in(folder: Path) -> list[str]:
    log = folder / "si-converge" / "labels" / "computed.log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.real
def test_a_study_that_is_killed_goes_on_and_is_written_down(tmp_path: Path) -> None:
    config = tmp_path / "si.yaml"
    config.write_text(TEXT)
    with subprocess.Popen(command(*OPTIONS), cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + WAIT_S
        while len(labels_in(tmp_path)) < 4 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    before = labels_in(tmp_path)
    assert len(before) >= 4
    assert config.read_text() == TEXT

    dry = subprocess.run(
        command(*OPTIONS, "--dry-run", "--json"), cwd=tmp_path, capture_output=True, check=False
    )
    assert dry.returncode == 0, dry.stdout.decode() + dry.stderr.decode()
    told = json.loads(dry.stdout)
    assert told["converged"]
    assert told["try_next"] == {}
    assert not told["written"]
    assert config.read_text() == TEXT
    done = labels_in(tmp_path)
    assert done[: len(before)] == before
    assert len(set(done)) == len(done)  # what was finished before the kill was not computed again
    for row in told["rows"]:
        if row["value"] == row["against"]:
            assert row["force_error_eV_per_A"] is None
        elif row["value"] == told["found"][row["parameter"]]:
            assert row["force_error_eV_per_A"] <= 0.02
            assert row["stress_error_GPa"] <= 1
            assert row["energy_error_meV_per_atom"] <= 5

    real = subprocess.run(
        command(*OPTIONS), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert real.returncode == 0, real.stderr
    assert labels_in(tmp_path) == done
    assert "labels are there already" in real.stderr
    assert "force error (eV/Å)" in real.stdout
    assert "si.yaml.bak" in real.stdout
    assert (tmp_path / "si.yaml.bak").read_text() == TEXT
    after = config.read_text()
    for line in ("# silicon, roughly", "(was 16: a guess)", "  # four times that", "# both cores"):
        assert line in after
    oracle = resolve(load_config(config), tmp_path).settings.oracle
    assert isinstance(oracle, EspressoSettings)
    assert oracle.ecutwfc_Ry == told["found"]["ecutwfc_Ry"]
    assert oracle.ecutrho_Ry == pytest.approx(4 * oracle.ecutwfc_Ry)
    assert oracle.kspacing_per_A == told["found"]["kspacing_per_A"]
    assert oracle.degauss_Ry == told["found"]["degauss_Ry"]


def test_a_source_without_a_cutoff_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "cu.yaml"
    config.write_text("elements: [Cu]\noracle: {code: ase, calculator: ase.calculators.emt.EMT}\n")
    done = CliRunner().invoke(app, ["converge", str(config)])
    assert done.exit_code == 2
    assert "only plane-wave codes" in " ".join(done.output.split())


def test_a_configuration_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "si.yaml"
    config.write_text(TEXT)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)  # root may write anything
    done = CliRunner().invoke(app, ["converge", str(config), "-w", str(tmp_path / "work")])
    assert done.exit_code == 2
    assert "--dry-run" in done.output
    assert not (tmp_path / "work").exists()
