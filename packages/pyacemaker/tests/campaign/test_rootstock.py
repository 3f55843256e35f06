"""A campaign that explores and labels by models of rootstock, and stops at its budget."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyacemaker.campaign.state import CampaignState
from pyacemaker.labels import LabelStore
from pyacemaker.provenance import provenance_of
from pyacemaker.structures import read_structures

from .conftest import ENVIRONMENT, PROGRAM, QUICK

pytestmark = pytest.mark.real

BY_MODEL = (
    QUICK.replace("{code: ase, calculator: ase.calculators.emt.EMT}", "{model: emt}").replace(
        "labels: 90", "labels: 24"
    )
    + "generator: {foundation: [emt, lj], foundation_md_ps: 0.1, foundation_frames: 4}\n"
)


def test_foundation_models_explore_and_rootstock_labels(tmp_path: Path) -> None:
    config, workdir = tmp_path / "cu.yaml", tmp_path / "cu"
    config.write_text(BY_MODEL)
    done = subprocess.run(
        [*PROGRAM, "run", str(config), "--workdir", str(workdir)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=600,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "frames of trajectories with emt, of which the 6 on whose forces lj" in done.stdout
    state = CampaignState(workdir, read_only=True)
    explored = state.result(1, "explore")
    state.close()
    assert explored is not None
    pool = read_structures(workdir / explored["pool"]["file"])
    frames = [a for a in pool if provenance_of(a)["generator"] == "foundation"]
    assert len(frames) == 6
    assert all(provenance_of(a)["disagreement_eV_per_A"] > 0 for a in frames)
    labels = list(LabelStore(workdir / "labels"))
    assert len(labels) >= 24
    assert {label.settings["code"] for label in labels} == {"rootstock"}


def test_a_model_that_is_not_there_is_refused_before_work_starts(tmp_path: Path) -> None:
    config, workdir = tmp_path / "cu.yaml", tmp_path / "cu"
    config.write_text(QUICK + f"generator: {{foundation: chgnet, root: {tmp_path / 'nowhere'}}}\n")
    done = subprocess.run(
        [*PROGRAM, "run", str(config), "--workdir", str(workdir)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "generator.foundation" in done.stdout
    assert "rootstock init" in done.stdout
    assert not (workdir / "labels").exists()
