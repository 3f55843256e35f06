"""The linear fit on real DFT data: Zuo et al., J. Phys. Chem. A 124, 731 (2020), silicon."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from pyacemaker.provenance import tag
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "mlearn" / "Si-training.json"


@pytest.mark.skipif(not DATA.is_file(), reason="shared/data/mlearn/Si-training.json is not here")
def test_silicon_from_a_few_dft_structures(tmp_path):
    structures = []
    for n, entry in enumerate(json.loads(DATA.read_text())):
        sites = entry["structure"]["sites"]
        atoms = Atoms(
            [site["species"][0]["element"] for site in sites],
            positions=[site["xyz"] for site in sites],
            cell=entry["structure"]["lattice"]["matrix"],
            pbc=True,
        )
        xx, yy, zz, xy, yz, zx = entry["outputs"]["virial_stress"]  # kbar, pressure positive
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=entry["outputs"]["energy"],
            forces=np.array(entry["outputs"]["forces"]),
            stress=-0.1 * GPa * np.array([xx, yy, zz, yz, zx, xy]),
        )
        structures.append(tag(atoms, entry["group"], f"{entry['group']}-{n}"))
    # The data have no isolated atom; its energy is set so that the crystal's cohesion is 4.63 eV.
    lowest = min(a.get_potential_energy() / len(a) for a in structures)
    result = LinearTrainer(TrainerSettings(functions_per_element=120)).fit(
        structures[::10],
        structures[5::20],
        {"Si": lowest + 4.63},
        tmp_path / "potential",
        np.random.default_rng(0),
    )
    validation = result.metrics["validation"]
    assert validation["energy_rmse"] < 0.020
    assert validation["force_rmse"] < 0.17
    assert validation["stress_rmse"] < 1.0
