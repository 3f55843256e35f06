"""A campaign whose explorer is kinetic Monte Carlo: an adatom that no label has shown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pyacemaker.campaign.state import CampaignState
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.recheck import rechecked
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.dynamics.kmc.table import StateTable
from pyacemaker.potential import Potential

from .conftest import ENVIRONMENT, PROGRAM

pytestmark = pytest.mark.real

CONFIG = """\
elements: [Cu]
seed: 3
workers: 2
temperatures_K: [300]
oracle: {code: ase, calculator: ase.calculators.emt.EMT}
trainer: {functions_per_element: 40, cutoff_A: 5.0, max_body_order: 3}
dynamics: {explorers: kmc, gamma_select: 2, gamma_halt: 4}
kmc:
  structure: slab.traj
  events: 1
  confidence: 0.6
  max_searches: 25
  max_barrier_eV: 1.0
  prefactor_THz: 5
validation:
  gates: [eos, test_error]
  test_energy_rmse_eV_per_atom: 0.05
  test_force_rmse_eV_per_A: 0.5
  test_frames_per_temperature: 1
budget: {labels: 120, initial_labels: 30, labels_per_iteration: 10, max_atoms: 8}
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kmc")
    slab = fcc100("Cu", (2, 2, 3), vacuum=5, periodic=True)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=[atom.tag == 3 for atom in slab]))
    slab.info = {}
    slab.write(folder / "slab.traj")
    (folder / "cu.yaml").write_text(CONFIG)
    workdir = folder / "work"
    done = subprocess.run(
        [*PROGRAM, "run", str(folder / "cu.yaml"), "--workdir", str(workdir)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return workdir


def _walks(workdir: Path) -> list[dict[str, Any]]:
    state = CampaignState(workdir, read_only=True)
    try:
        return [
            {**run, "iteration": record.iteration}
            for record in state.steps("md")
            for run in record.result["runs"]
        ]
    finally:
        state.close()


def test_it_halts_learns_and_holds(walked: Path) -> None:
    walks = _walks(walked)
    assert {walk["kind"] for walk in walks} == {"kmc"}
    assert walks[0]["status"] == "halted"
    assert "exceeds 4" in walks[0]["message"]
    assert walks[-1]["status"] == "completed"
    assert max(walks[-1]["gamma_trace"]) <= 4
    certificate = json.loads((walked / "potential" / "certificate.json").read_text())
    assert certificate["certified"]
    assert "1 hops of kinetic Monte Carlo at 300 K without a halt" in certificate["reason"]


def test_the_retrained_barriers_are_the_oracles(walked: Path) -> None:
    """The last walk's saddle points, climbed to again on the oracle's own surface and with the
    first potential: learning moved the barriers to the oracle's."""
    last = _walks(walked)[-1]
    settings = KMCSettings(temperature_K=300, max_barrier_eV=1.5, prefactor_THz=5)
    with StateTable(walked / last["table"]["file"]) as table:
        state = next(found for found in table.states() if found.mechanisms)
    lowest = min(state.mechanisms, key=lambda one: one.barrier_eV)
    first = Potential.load(walked / "iter_001" / "potential").calculator()

    def barrier(calculator: Any) -> float:
        found = rechecked(state, Landscape(calculator, "other"), settings).mechanisms
        close = [
            one for one in found if np.linalg.norm(one.product - lowest.product, axis=1).max() < 0.5
        ]
        return min((one.barrier_eV for one in close), default=float("nan"))

    oracle = barrier(EMT())
    before = barrier(first)
    assert abs(lowest.barrier_eV - oracle) < 0.05
    assert not abs(before - oracle) <= abs(lowest.barrier_eV - oracle)  # or was not there


def test_the_report_tells_rates_and_the_time_line(walked: Path) -> None:
    text = (walked / "report.html").read_text()
    assert "Kinetic Monte Carlo" in text
    for words in ("kmc-rates", "kmc-time-line", "kmc-gamma", "1/s", "THz"):
        assert words in text
