"""What may be published, and what the root's manifest keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyacemaker.campaign.publish import PublishError, certified, verdict
from pyacemaker.cli.app import app

CHECKS = [
    {"name": "eos", "passed": True, "reason": "smooth", "numbers": {"B0_GPa": 88.0}},
    {"name": "phonons", "passed": True, "reason": "no imaginary modes", "numbers": {}},
]


def write_certificate(folder: Path, **changed: Any) -> Path:
    potential = folder / "potential"
    potential.mkdir(parents=True, exist_ok=True)
    content = {
        "certified": True,
        "reason": "energy RMSE 1 meV/atom",
        "iteration": 3,
        "elements": ["Si"],
        "checks": CHECKS,
    }
    (potential / "certificate.json").write_text(json.dumps(content | changed))
    return potential


def test_a_certified_potential_may_be_published(tmp_path: Path) -> None:
    certificate = certified(write_certificate(tmp_path))
    facts = verdict(certificate, tmp_path / "report.html")
    assert facts["verdict"] == "energy RMSE 1 meV/atom"
    assert [check["name"] for check in facts["checks"]] == ["eos", "phonons"]
    assert "report_sha256" not in facts
    (tmp_path / "report.html").write_text("<html>")
    assert len(verdict(certificate, tmp_path / "report.html")["report_sha256"]) == 64


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"certified": False, "reason": "budget spent"}, "not certified (budget spent)"),
        ({"checks": []}, "not certified"),
        ({"checks": [CHECKS[0], CHECKS[1] | {"passed": False}]}, "failed its gates (phonons)"),
        ({"certified": "yes"}, "not certified"),
        ({"checks": None}, "is damaged"),
    ],
)
def test_anything_less_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    potential = write_certificate(tmp_path, **changed)
    with pytest.raises(PublishError) as refused:
        certified(potential)
    assert words in str(refused.value)
    done = CliRunner().invoke(app, ["publish", str(tmp_path), "--root", str(tmp_path / "root")])
    assert done.exit_code == 1
    assert words in done.output


def test_nothing_there_and_no_root(tmp_path: Path) -> None:
    runner = CliRunner(env={"ROOTSTOCK_ROOT": ""})
    done = runner.invoke(app, ["publish", str(tmp_path), "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds no potential with a certificate" in done.output
    done = runner.invoke(app, ["publish", str(tmp_path)])
    assert done.exit_code == 2
    assert "--root" in done.output
