"""A whole campaign that is quick: copper by EMT, a small basis, picoseconds of MD."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

QUICK = """\
elements: [Cu]
seed: 3
workers: 2
temperatures_K: [300, 1200]
oracle: {code: ase, calculator: ase.calculators.emt.EMT}
trainer: {functions_per_element: 40, cutoff_A: 5.0, max_body_order: 4}
dynamics: {md_ps: 1, timestep_fs: 2, atoms: 8, gamma_select: 1.5, gamma_halt: 2.5}
validation:
  gates: [consistency, eos, elastic, phonons, test_error]
  phonon_min_edge_A: 7
  phonon_mesh_length_A: 20
  test_force_rmse_eV_per_A: 0.4
  test_energy_rmse_eV_per_atom: 0.05
  test_frames_per_temperature: 1
budget: {initial_labels: 24, labels_per_iteration: 8, labels: 90, max_atoms: 4}
"""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PROGRAM = [sys.executable, "-c", "from pyacemaker.cli import main; main()"]

Run = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def quick_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quick") / "cu.yaml"
    path.write_text(QUICK)
    return path


@pytest.fixture(scope="session")
def command(quick_config: Path) -> Callable[[Path], list[str]]:
    def make(workdir: Path) -> list[str]:
        return [*PROGRAM, "run", str(quick_config), "--workdir", str(workdir), "--json"]

    return make


@pytest.fixture(scope="session")
def finished(
    command: Callable[[Path], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, object]], int]:
    """An undisturbed campaign: its directory, its events and its exit code."""
    workdir = tmp_path_factory.mktemp("finished") / "cu"
    done = subprocess.run(
        command(workdir), capture_output=True, text=True, env=ENVIRONMENT, timeout=900, check=False
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events, done.stderr
    return workdir, events, done.returncode
