"""Two elements and a classical oracle: from nothing but their names to a certificate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from pyacemaker.campaign.phases import best_volume
from pyacemaker.campaign.state import CampaignState
from pyacemaker.campaign.status import status_of
from pyacemaker.potential import Potential

from .conftest import ENVIRONMENT, PROGRAM

ALLOY = """\
elements: [Al, Cu]
seed: 3
workers: 2
temperatures_K: [300, 600]
oracle: {code: ase, calculator: ase.calculators.emt.EMT}
trainer: {functions_per_element: 60, cutoff_A: 5.5, max_body_order: 4}
dynamics: {md_ps: 1, timestep_fs: 2, atoms: 16}
validation: {phonon_min_edge_A: 7, phonon_mesh_length_A: 20, test_frames_per_temperature: 1}
budget: {initial_labels: 40, labels_per_iteration: 12, labels: 200, max_atoms: 8}
"""


def test_the_best_volume_is_that_of_the_parabola() -> None:
    volumes = np.array([14.0, 16.0, 18.0])
    energies = 3 * (volumes ** (-2 / 3) - 16.5 ** (-2 / 3)) ** 2 - 1
    found = best_volume(list(zip(volumes, energies, strict=True)))
    assert found == pytest.approx(16.5)
    falling = [(14.0, 1.0), (16.0, 0.0), (18.0, -2.0)]
    assert best_volume(falling) <= 1.1 * 18.0


@pytest.mark.real
def test_aluminium_and_copper_become_a_certified_potential(tmp_path: Path) -> None:
    from ase.calculators.emt import EMT

    config, workdir = tmp_path / "alloy.yaml", tmp_path / "work"
    config.write_text(ALLOY)
    done = subprocess.run(
        [*PROGRAM, "run", str(config), "--workdir", str(workdir)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    certificate = json.loads((workdir / "potential" / "certificate.json").read_text())
    assert certificate["certified"] is True
    names = {check["name"] for check in certificate["checks"]}
    assert {"eos", "eos (fcc Al)", "phonons (fcc Cu)"} <= names
    # the oracle itself finds the table's crystal (theta, of nature) unstable
    state = CampaignState(workdir, read_only=True)
    hull = {name: height for name, _, _, height in state.result(0, "phases")["hull"]}
    state.close()
    assert hull["theta-al2cu Al2Cu"] > 0.1
    lines = [json.loads(line) for line in (workdir / "decisions.jsonl").read_text().splitlines()]
    assert all(line["what"] and line["why"] for line in lines)
    assert {line["step"] for line in lines} >= {"phases", "calibrate", "extend"}
    assert status_of(workdir)["decisions"] == lines
    potential = Potential.load(workdir / "potential")
    for element in ("Al", "Cu"):
        atoms = bulk(element, cubic=True)
        energies = []
        for calculator in (EMT(), potential.calculator()):
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy() / len(atoms))
        assert energies[1] == pytest.approx(energies[0], abs=0.03)
