"""Imported data in a campaign: taken where it agrees with the oracle, else refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.campaign.budget import labels_spent
from pyacemaker.campaign.dataset import load
from pyacemaker.campaign.importing import compared
from pyacemaker.campaign.state import CampaignState
from pyacemaker.data.importing import import_file
from pyacemaker.labels import LabelStore

CONFIG = """\
elements: [Cu]
seed: 3
workers: 2
temperatures_K: [300]
oracle: {{code: ase, calculator: ase.calculators.emt.EMT, imported: [{name}]}}
trainer: {{functions_per_element: 20, cutoff_A: 4.5, max_body_order: 3}}
dynamics: {{md_ps: 0.1, timestep_fs: 2, atoms: 8, engine: ase}}
validation: {{gates: [test_error], test_force_rmse_eV_per_A: 0.4}}
budget: {{initial_labels: 8, labels_per_iteration: 4, labels: 30, max_atoms: 4, max_iterations: 1}}
"""
SHIFT_EV = 17.5


def foreign(path: Path, noise: float = 0.0, count: int = 12) -> Path:
    """Write copper labels whose energies have another zero, and forces with noise."""
    frames = []
    for n in range(count):
        atoms = bulk("Cu", cubic=True)
        rng = np.random.default_rng(n)
        atoms.rattle(0.08, rng=rng)
        work = atoms.copy()
        work.calc = EMT()
        more = rng.normal(scale=noise, size=(4, 3)) if noise else np.zeros((4, 3))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=work.get_potential_energy() + SHIFT_EV * len(atoms),
            forces=work.get_forces() + more - more.mean(axis=0),
            stress=work.get_stress(),
        )
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def run(
    tmp_path: Path, program: list[str], environment: dict[str, str], name: str
) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "cu.yaml"
    config.write_text(CONFIG.format(name=name))
    return subprocess.run(
        [*program, "run", str(config), "--workdir", str(tmp_path / "w")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        check=False,
    )


@pytest.fixture
def program() -> tuple[list[str], dict[str, str]]:
    import os
    import sys

    line = [sys.executable, "-c", "from pyacemaker.cli import main; main()"]
    return line, {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def test_data_that_agrees_is_learnt_from_at_the_oracles_zero(
    tmp_path: Path, program: tuple[list[str], dict[str, str]]
) -> None:
    store = LabelStore(tmp_path / "w" / "labels")
    import_file(store, foreign(tmp_path / "cu.extxyz"), "mine", {})
    done = run(tmp_path, *program, "mine")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = CampaignState(tmp_path / "w", read_only=True)
    result = state.result(0, "imported")
    assert result is not None
    assert result["shifts"]["Cu"] == pytest.approx(-SHIFT_EV, abs=1e-6)
    dataset = load(state, store, 3)
    taken = [a for a in dataset.train if a.info["provenance"]["generator"] == "imported"]
    assert len(taken) == 12  # five of them with our own labels
    for atoms in taken:
        again = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
        again.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy())

    class Spent:
        pass

    campaign = Spent()
    campaign.state = state  # type: ignore[attr-defined]
    assert labels_spent(campaign) < len(dataset.train) + len(dataset.test)  # type: ignore[arg-type]
    state.close()


def test_data_that_does_not_agree_ends_the_campaign_with_the_numbers(
    tmp_path: Path, program: tuple[list[str], dict[str, str]]
) -> None:
    store = LabelStore(tmp_path / "w" / "labels")
    import_file(store, foreign(tmp_path / "cu.extxyz", noise=2.0), "other", {})
    done = run(tmp_path, *program, "other")
    assert done.returncode == 1
    assert "more than the errors this campaign aims at" in done.stdout + done.stderr
    missing = run(tmp_path / "w", *program, "nothing")
    assert missing.returncode == 1
    assert "--name nothing" in missing.stdout + missing.stderr


def test_shift_of_each_element_is_found() -> None:
    pairs = []
    for n, symbols in enumerate(("CuCu", "CuAu", "AuAu", "CuAuAu")):
        atoms = Atoms(symbols, positions=[[2.5 * i, 0, 0] for i in range(len(symbols) // 2)])
        copies = []
        for shift in (0.0, 1.0):
            copy = atoms.copy()
            more = shift * sum({"Cu": 3.0, "Au": -2.0}[s] for s in copy.get_chemical_symbols())
            copy.calc = SinglePointCalculator(
                copy, energy=float(n) + more, forces=np.full((len(copy), 3), 0.1 * shift)
            )
            copies.append(copy)
        pairs.append((copies[0], copies[1]))
    found = compared(pairs, ["Cu", "Au"])
    assert found.shifts == pytest.approx({"Cu": 3.0, "Au": -2.0})
    assert found.energy_rmse < 1e-9
    assert found.force_rmse == pytest.approx(0.1)
