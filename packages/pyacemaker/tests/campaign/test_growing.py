"""Campaigns whose trainer grows: what growth waits for, what it is put through, what is served."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from pyacemaker.campaign import fits, growing, learning
from pyacemaker.campaign.parts import make_parts
from pyacemaker.campaign.state import CampaignState
from pyacemaker.config.load import parse_config
from pyacemaker.config.resolve import resolve
from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.potential import Potential
from pyacemaker.trainer.base import FitResult, GrowingTrainer, TrainerError
from pyacemaker.trainer.growing.decision import Diagnosis
from pyacemaker.trainer.pacemaker import LinearTrainer

from .conftest import ENVIRONMENT, PROGRAM

CONFIG = """\
elements: [Cu]
seed: 3
workers: 2
temperatures_K: [300]
oracle: {code: ase, calculator: ase.calculators.emt.EMT}
trainer: {fit: esper, cutoff_A: 4.5, esper_channels: 0, esper_epochs: 30}
dynamics: {md_ps: 0.2, timestep_fs: 2, atoms: 8, gamma_select: 2, gamma_halt: 4}
validation:
  gates: [consistency, eos, test_error]
  test_force_rmse_eV_per_A: 0.4
  test_energy_rmse_eV_per_atom: 0.05
  test_frames_per_temperature: 1
budget: {initial_labels: 24, labels_per_iteration: 8, labels: 60, max_atoms: 4}
"""

# One neuron, hardly trained, against a gate that it cannot pass: capacity is what is missing.
TOO_SMALL = CONFIG.replace(
    "esper_epochs: 30}", "esper_width: 1, esper_epochs: 12, esper_learning_rate: 0.003}"
).replace("eV_per_A: 0.4", "eV_per_A: 0.02")
TOO_SMALL = TOO_SMALL.replace("consistency, eos,", "consistency,").replace("60,", "32,")


class Grows:
    """Stands for the networks: says what it is told to."""

    def __init__(self, kind: Any, force_rmse: float = 0.1, error: str = "") -> None:
        self.kind, self.force_rmse, self.error, self.heard = kind, force_rmse, error, [""]

    def diagnose(self, metrics: Any, complaints: Any) -> Diagnosis:
        self.heard = list(complaints)
        return Diagnosis(self.kind, "because")

    def grow(self, potential: Path, *args: Any) -> FitResult:
        if self.error:
            raise TrainerError(self.error)
        outdir: Path = args[3]
        outdir.mkdir()
        (outdir / "potential.json").write_text("grown")
        metrics = {
            "validation": {"force_rmse": self.force_rmse},
            "growth": {"way": "channels"},
            "parameters": 100,
        }
        return FitResult(outdir, metrics, 0.1)


def _campaign(tmp_path: Path, trainer: Any, monkeypatch: pytest.MonkeyPatch, passes: bool) -> Any:
    from pyacemaker.campaign.journal import Journal

    state = CampaignState(tmp_path)
    journal = Journal(tmp_path, state, 1, lambda event: None)
    monkeypatch.setattr(
        growing, "load", lambda *a: SimpleNamespace(train=(), validation=(), test=())
    )
    checks = [{"name": "eos", "passed": passes}]
    monkeypatch.setattr(learning, "judge", lambda *a: {"passed": passes, "checks": checks})
    return SimpleNamespace(
        parts=SimpleNamespace(growing=trainer),
        journal=journal,
        state=state,
        store=None,
        settings=SimpleNamespace(seed=1),
    )


def _fit(campaign: Any) -> dict[str, Any]:
    folder = campaign.journal.folder(1) / "potential"
    folder.mkdir()
    (folder / "potential.json").write_text("first")
    done = FitResult(folder, {"validation": {"force_rmse": 0.2}}, 0.1)
    return learning.describe(campaign, done, {"train": 3})


PREPARED: Any = SimpleNamespace(reference_energies={})
PASSED = {"passed": True, "checks": []}
FAILED = {"passed": False, "checks": [{"name": "eos", "passed": False}]}


@pytest.mark.parametrize(
    ("kind", "rmse", "gates", "verdict", "kept", "words"),
    [
        ("capacity", 0.1, True, PASSED, True, "200 -> 100 meV/angstrom; kept"),
        ("capacity", 0.1, False, PASSED, False, "rolled back: it fails eos"),
        ("capacity", 0.3, True, PASSED, False, "rolled back: it is not better"),
        ("capacity", 0.3, True, FAILED, True, "200 -> 300 meV/angstrom; kept"),
        ("capacity", 0.1, False, FAILED, True, "200 -> 100 meV/angstrom; kept"),
        ("capacity", 0.3, False, FAILED, False, "rolled back: it is not better"),
        ("data", 0.1, True, PASSED, False, "asks for labels"),
        ("unfinished", 0.1, True, PASSED, False, "not trained to the end"),
        ("enough", 0.1, True, PASSED, False, "nothing to grow for"),
    ],
)
def test_what_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    rmse: float,
    gates: bool,
    verdict: dict[str, Any],
    kept: bool,
    words: str,
) -> None:
    campaign = _campaign(tmp_path, Grows(kind, rmse), monkeypatch, gates)
    fit = _fit(campaign)
    after, judged = growing.consider(campaign, 1, PREPARED, fit, verdict)
    assert (after is not fit) == kept
    assert after["potential"].endswith("potential_grown") == kept
    assert judged["passed"] == (gates if kept else verdict["passed"])
    assert any(words in line.message for line in campaign.state.log_lines())
    if kept:
        assert fits.current(campaign.state, 1) == after
        assert fits.verdict_of(campaign.state, 1) == judged
    again, _ = growing.consider(campaign, 1, PREPARED, fit, verdict)
    assert again == after, "the step is done once"
    campaign.state.close()


def test_a_growth_that_is_not_possible_leaves_the_potential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = _campaign(tmp_path, Grows("capacity", error="no more widths"), monkeypatch, True)
    fit = _fit(campaign)
    after, _ = growing.consider(campaign, 1, PREPARED, fit, PASSED)
    assert after is fit
    assert "not grown: no more widths" in campaign.state.log_lines()[-1].message
    campaign.state.close()


def test_other_trainers_have_no_such_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(LinearTrainer(), GrowingTrainer)
    campaign = _campaign(tmp_path, None, monkeypatch, True)
    fit = _fit(campaign)
    assert growing.consider(campaign, 1, PREPARED, fit, PASSED) == (fit, PASSED)
    assert campaign.state.result(1, fits.GROW) is None
    campaign.state.close()


def test_what_counts_as_wrong_in_a_sampled_region(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)

    def md(iteration: int, **runs: str) -> None:
        told = [{"temperature_K": float(k[1:]), "status": s} for k, s in runs.items()]
        state.finish(iteration, "md", {"runs": told}, 0.0, [])

    md(1, T300="halted", T900="halted")
    assert growing.complaints(state, 2, PASSED) == []
    md(2, T300="completed", T900="halted")
    state.finish(2, "validate", FAILED, 0.0, [])
    assert growing.complaints(state, 3, PASSED) == ["gamma halted again at 900 K"]
    assert growing.complaints(state, 3, FAILED)[-1] == "the gate eos failed again"
    md(3, T300="halted", T900="completed")
    assert growing.complaints(state, 4, PASSED) == []
    state.close()


@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_campaign_by_networks_ends_and_is_served(tmp_path: Path) -> None:
    from pyacemaker.campaign.publish import publish
    from rootstock import RootstockCalculator
    from rootstock.root.create import create_root

    config, workdir = tmp_path / "cu.yaml", tmp_path / "cu"
    config.write_text(CONFIG)
    done = subprocess.run(
        [*PROGRAM, "run", str(config), "--workdir", str(workdir), "--json"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=800,
        check=False,
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["ending"] == "converged", done.stdout[-2000:] + done.stderr
    potential = Potential.load(workdir / "potential")
    assert potential.manifest.form == "esper"
    state = CampaignState(workdir, read_only=True)
    assert {record.result["kind"] for record in state.steps(fits.GROW)} <= {
        "capacity", "data", "unfinished", "enough",
    }  # fmt: skip
    state.close()

    layout, _ = create_root(tmp_path / "root")
    published = publish(workdir, layout.folder, lambda text: None)
    assert published.model == "esper-cu"
    atoms, ours = bulk("Cu", cubic=True), bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    ours.positions[:] = atoms.positions
    ours.calc = potential.calculator()
    with RootstockCalculator(root=layout.folder, model=published.model) as calculator:
        atoms.calc = calculator
        assert atoms.get_potential_energy() == ours.get_potential_energy()
        np.testing.assert_array_equal(atoms.get_forces(), ours.get_forces())
        np.testing.assert_array_equal(atoms.get_stress(), ours.get_stress())


@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_campaign_grows_and_kill_9_in_the_growth_changes_nothing(tmp_path: Path) -> None:
    config, workdir = tmp_path / "cu.yaml", tmp_path / "cu"
    config.write_text(TOO_SMALL)
    arguments = [*PROGRAM, "run", str(config), "--workdir", str(workdir), "--json"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "limited by capacity" in line:
            process.kill()  # the growth has begun
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, lines
    state = CampaignState(workdir, read_only=True)
    done_before = {(r.iteration, r.name) for r in state.steps()}
    first = state.result(2, "train")
    assert state.result(2, fits.GROW) is None
    state.close()

    again = subprocess.run(
        arguments, capture_output=True, text=True, env=ENVIRONMENT, timeout=800, check=False
    )
    last = json.loads(again.stdout.splitlines()[-1])
    assert last["ending"] == "budget", again.stdout[-2000:] + again.stderr
    state = CampaignState(workdir, read_only=True)
    assert state.result(2, "train") == first, "what was finished is not done again"
    assert done_before < {(r.iteration, r.name) for r in state.steps()}
    kinds = [record.result["kind"] for record in state.steps(fits.GROW)]
    assert kinds == ["enough", "capacity"], "nothing is known of a first failure"
    grown = state.result(2, fits.GROW)
    assert grown is not None and first is not None
    assert grown["accepted"], grown["why_not"]
    before, after = first["metrics"], grown["fit"]["metrics"]
    assert after["parameters"] > before["parameters"]
    assert after["validation"]["force_rmse"] < before["validation"]["force_rmse"]
    assert after["active_set"]["Cu"]["functions"] == after["functions"]["Cu"]
    assert after["functions"]["Cu"] > before["functions"]["Cu"]
    current = fits.current(state, 2)
    assert current == grown["fit"]
    assert Potential.load(workdir / current["potential"]).manifest.form == "esper"
    state.close()


def test_lammps_by_name_is_refused_before_work_starts() -> None:
    told = (
        "elements: [Cu]\noracle: {code: ase, calculator: ase.calculators.emt.EMT}\n"
        "trainer: {fit: esper}\ndynamics: {engine: lammps}\n"
    )
    settings = resolve(parse_config(told)).settings
    with pytest.raises(DynamicsError, match="no pair style for the networks"):
        make_parts(settings, lambda text: None)
