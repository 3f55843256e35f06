"""A campaign as its user runs it, and as a machine that fails runs it."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from pyacemaker.campaign.dataset import load, read_labels
from pyacemaker.campaign.entries import entries
from pyacemaker.campaign.state import CampaignState
from pyacemaker.campaign.status import status_of
from pyacemaker.labels import LabelStore
from pyacemaker.potential import Potential
from pyacemaker.provenance import group_of, provenance_of

from .conftest import ENVIRONMENT, PROGRAM

pytestmark = pytest.mark.real

Finished = tuple[Path, list[dict[str, object]], int]
Command = Callable[[Path], list[str]]
_KILLS = 20


def _labels(workdir: Path) -> list[tuple[str, int, str, str]]:
    state = CampaignState(workdir, read_only=True)
    try:
        return [(e.key, e.iteration, e.step, e.role) for e in entries(state)]
    finally:
        state.close()


def test_it_converges_and_leaves_what_it_promises(finished: Finished) -> None:
    workdir, events, code = finished
    assert code == 0, events[-1]
    assert events[-1]["ending"] == "converged"
    assert "without a halt" in str(events[-1]["reason"])
    for name in ("report.html", "dataset.extxyz", "potential/potential.yaml", "campaign.db"):
        assert (workdir / name).is_file(), name
    certificate = json.loads((workdir / "potential" / "certificate.json").read_text())
    assert certificate["certified"] is True
    assert {check["name"] for check in certificate["checks"]} >= {"eos", "elastic", "phonons"}
    assert all(check["passed"] for check in certificate["checks"])
    assert "CERTIFIED" in (workdir / "report.html").read_text().upper()
    status = status_of(workdir)
    assert status["status"] == "converged"
    assert status["labels"] == len(_labels(workdir))


def test_the_certified_potential_is_copper_by_emt(finished: Finished) -> None:
    from ase.calculators.emt import EMT

    potential = Potential.load(finished[0] / "potential")
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, rng=np.random.default_rng(0))
    energies, forces = [], []
    for calculator in (EMT(), potential.calculator()):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / len(atoms))
        forces.append(atoms.get_forces())
    assert energies[1] == pytest.approx(energies[0], abs=0.05)
    assert np.sqrt(np.mean((forces[1] - forces[0]) ** 2)) < 0.4


def test_the_split_never_mixes_groups(finished: Finished) -> None:
    state = CampaignState(finished[0], read_only=True)
    dataset = load(state, LabelStore(finished[0] / "labels"), seed=3)
    state.close()
    sides = {
        name: {group_of(atoms) for atoms in getattr(dataset, name)}
        for name in ("train", "validation", "test")
    }
    assert sides["test"]
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["validation"]
    assert not sides["validation"] & sides["test"]
    made_by = {provenance_of(atoms)["generator"] for atoms in dataset.test}
    assert "certification" in made_by
    written = read(finished[0] / "dataset.extxyz", ":")
    assert Counter(a.info["split"] for a in written) == {
        name: len(getattr(dataset, name))
        for name in ("train", "validation", "test")
        if getattr(dataset, name)
    }


def test_no_label_was_computed_twice(finished: Finished) -> None:
    store = LabelStore(finished[0] / "labels")
    computed = Counter(line.key for line in store.computed())
    assert set(computed.values()) == {1}
    state = CampaignState(finished[0], read_only=True)
    assert len(read_labels(entries(state), store)) == len(_labels(finished[0]))
    state.close()


def test_a_finished_campaign_that_is_run_again_does_nothing(
    finished: Finished, command: Command, tmp_path: Path
) -> None:
    workdir = tmp_path / "again"
    shutil.copytree(finished[0], workdir)
    before = _labels(workdir), LabelStore(workdir / "labels").computed()
    done = subprocess.run(
        command(workdir), capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["outcome"]
    assert (_labels(workdir), LabelStore(workdir / "labels").computed()) == before


def test_other_settings_are_refused_and_a_changed_file_is_named(
    finished: Finished, quick_config: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "work"
    shutil.copytree(finished[0], workdir)
    other = tmp_path / "other.yaml"
    other.write_text(quick_config.read_text().replace("seed: 3", "seed: 4"))

    def run(config: Path) -> subprocess.CompletedProcess[str]:
        arguments = [*PROGRAM, "run", str(config), "--workdir", str(workdir)]
        return subprocess.run(
            arguments, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
        )

    refused = run(other)
    assert refused.returncode == 1
    assert "other settings (seed)" in refused.stdout
    label = next((workdir / "labels").glob("*/*.json"))
    label.write_bytes(label.read_bytes()[:-20])
    damaged = run(quick_config)
    assert damaged.returncode == 1
    assert label.name in damaged.stdout


def test_a_spent_budget_says_so_and_more_budget_goes_on(
    finished: Finished, quick_config: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "work"
    config = tmp_path / "cu.yaml"
    text = quick_config.read_text()

    def run(labels: int) -> subprocess.CompletedProcess[str]:
        config.write_text(text.replace("labels: 90", f"labels: {labels}"))
        arguments = [*PROGRAM, "run", str(config), "--workdir", str(workdir)]
        return subprocess.run(
            arguments, capture_output=True, text=True, env=ENVIRONMENT, timeout=600, check=False
        )

    spent = run(24)
    assert spent.returncode == 3, spent.stdout
    assert "budget of 24 labels" in spent.stdout
    assert status_of(workdir)["status"] == "budget"
    done = run(90)
    assert done.returncode == 0, done.stdout
    assert _labels(workdir) == _labels(finished[0])


def _run_and_kill(arguments: list[str], events: int, delay_s: float) -> bool:
    """Kill a campaign `delay_s` after some of its events; False if it ended before."""
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    assert process.stdout is not None
    alive = all(process.stdout.readline() for _ in range(events))
    if alive:
        time.sleep(delay_s)
        alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    return alive


def test_kill_9_at_random_moments_changes_nothing(
    finished: Finished, command: Command, tmp_path: Path
) -> None:
    chance = random.Random(11)
    kills = campaigns = 0
    while kills < _KILLS:
        workdir = tmp_path / f"killed_{campaigns}"
        campaigns += 1
        while kills < _KILLS and _run_and_kill(
            command(workdir), chance.randint(0, 8), chance.uniform(0, 1)
        ):
            kills += 1
        done = subprocess.run(
            command(workdir),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert _labels(workdir) == _labels(finished[0])
        computed = Counter(line.key for line in LabelStore(workdir / "labels").computed())
        assert set(computed) == set(LabelStore(finished[0] / "labels").keys())
        assert set(computed.values()) == {1}
        fits = [
            (path / "potential" / "potential.yaml").read_bytes() for path in (workdir, finished[0])
        ]
        assert fits[0] == fits[1]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_clean_and_says_how_to_go_on(
    quick_config: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    workdir = tmp_path / "stopped"
    arguments = [*PROGRAM, "run", str(quick_config), "--workdir", str(workdir)]
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # tests in the background inherit an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "validating" in line or "labelling" in line:
            break
    process.send_signal(sent)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Go on with:  pyacemaker run" in rest
    assert status_of(workdir)["status"] == "interrupted"
