"""Comparing campaigns that were really run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from pyacemaker.campaign.comparison import _names, _shifted, compare
from pyacemaker.cli.app import app
from pyacemaker.report import ParitySet

Finished = tuple[Path, list[dict[str, object]], int]
runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})


@pytest.mark.real
def test_a_campaign_compared_with_its_copy(finished: Finished, tmp_path: Path) -> None:
    workdir, _, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
    compared = compare(workdir, copy)
    assert compared.names == (workdir.name, "copy")
    assert sorted(compared.crossed) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for values in compared.crossed.values():
        assert values == compared.crossed[0, 0]
        assert len(values.energy_reference) > 0
    assert compared.notes == ()

    page = tmp_path / "page.html"
    done = runner.invoke(app, ["compare", str(workdir), str(copy), "-o", str(page)])
    assert done.exit_code == 0, done.output
    assert "Energy error" in done.output
    assert str(page) in done.output
    assert "Each potential on each test set" in page.read_text()
    found = json.loads(runner.invoke(app, ["compare", str(workdir), str(copy), "--json"]).stdout)
    assert found["settings"] == []
    assert found["numbers"]["labels"]["a"] == found["numbers"]["labels"]["b"]
    after = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
    kept = {p: t for p, t in before.items() if "campaign.db-" not in p.name}
    assert {p: t for p, t in after.items() if "campaign.db-" not in p.name} == kept


@pytest.mark.real
def test_damaged_files_are_told_in_one_line(finished: Finished, tmp_path: Path) -> None:
    workdir, _, _ = finished
    potential, label = tmp_path / "potential", tmp_path / "label"
    shutil.copytree(workdir, potential)
    for path in potential.glob("iter_*/potential/potential.json"):
        path.unlink()
    shutil.copytree(workdir, label)
    next(label.glob("labels/*/*.json")).write_text("x")
    for copy, word in ((potential, "potential.json is missing"), (label, "not a label's file")):
        for command in (["compare", str(workdir), str(copy), "--json"], ["report", str(copy)]):
            done = runner.invoke(app, command)
            assert done.exit_code == 2, done.output
            assert word in done.output
            assert done.output.count("\n") == 1


def test_a_directory_without_a_campaign_is_refused(tmp_path: Path) -> None:
    done = runner.invoke(app, ["compare", str(tmp_path), str(tmp_path)])
    assert done.exit_code == 2
    assert "no campaign here" in done.output


def test_names_show_what_tells_two_directories_apart(tmp_path: Path) -> None:
    assert _names(tmp_path / "a" / "si", tmp_path / "b" / "si") == ("a/si", "b/si")
    assert _names(tmp_path / "si", tmp_path / "ge") == ("si", "ge")
    assert _names(tmp_path, tmp_path)[0].endswith("(A)")


def test_zeros_of_energy_are_shifted_by_element_and_nothing_else() -> None:
    structures = (bulk("Cu"), bulk("CuAu", "zincblende", a=5.0), bulk("Au"))
    zeros = np.array([2.0, -1.0, -4.0])  # 2 eV for Cu, -4 eV for Au, by shares
    reference = np.array([-3.5, -3.6, -3.8])
    found = ParitySet(energy_reference=reference, energy_predicted=reference + zeros)
    shifted = _shifted(found, structures)
    assert np.allclose(shifted.energy_predicted, reference, atol=1e-9)
    bent = ParitySet(
        energy_reference=reference, energy_predicted=reference + zeros + [0.0, 0.1, 0.0]
    )
    left = np.array(_shifted(bent, structures).energy_predicted) - reference
    assert np.abs(left).max() > 0.03
