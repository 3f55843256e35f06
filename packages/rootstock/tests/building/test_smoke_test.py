"""The smoke test passes right models and fails wrong ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.data import chemical_symbols

from rootstock.build.smoke_test import SmokeTestError, crystal, derivative, judge
from rootstock.build.version import package_folder
from rootstock.root.shipped import built_in_source


class Wrong(Calculator):
    """EMT with a fault."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, **faults: float) -> None:
        super().__init__()
        self.emt = EMT()
        self.faults = faults

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        found = self.atoms.copy()
        found.calc = self.emt
        faults = self.faults
        energy = found.get_potential_energy()
        if "precision" in faults:
            energy = float(np.float32(energy))
        forces = found.get_forces() * faults.get("forces", 1.0)
        stress = found.get_stress() * faults.get("stress", 1.0)
        if "swapped" in faults:
            stress = stress[[0, 1, 2, 5, 4, 3]]
        if "nan" in faults:
            forces[0, 0] = np.nan
        if "short" in faults:
            forces = forces[1:]
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if "no_stress" not in faults:
            self.results["stress"] = stress


def test_the_crystal_is_the_same_every_time_and_has_every_element() -> None:
    one, two = crystal(["Cu", "Au"]), crystal(["Cu", "Au"])
    assert one == two
    assert set(one.get_chemical_symbols()) == {"Cu", "Au"}
    assert one.pbc.all()
    for symbol in chemical_symbols[1:95]:
        atoms = crystal([symbol])
        distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
        assert distances.min() > 0.7, symbol


def test_the_derivative_is_of_fourth_order() -> None:
    errors = [abs(derivative(lambda t: np.exp(t) + t**3, h) - 1.0) for h in (0.2, 0.1)]
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.05)


def test_a_right_model_passes_and_the_numbers_are_the_models() -> None:
    atoms = crystal(["Cu", "Au"])
    found = judge(atoms, EMT(), conservative=True)
    assert found["force_error_eV_per_A"] < 1e-4
    assert found["stress_error_eV_per_A3"] < 1e-5
    assert found["largest_force_eV_per_A"] > 0.3, "a test without forces tests nothing"
    atoms.calc = EMT()
    assert found["energy_eV"] == atoms.get_potential_energy()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-4)
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), numerical, atol=1e-5)


def test_single_precision_passes() -> None:
    found = judge(crystal(["Cu"]), Wrong(precision=1), conservative=True)
    assert found["force_error_eV_per_A"] < 0.005


def test_a_model_without_stress_passes_and_says_so() -> None:
    found = judge(crystal(["Cu"]), Wrong(no_stress=1), conservative=True)
    assert found["stress_error_eV_per_A3"] is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"forces": -1.0}, "forces are not derivatives"),
        ({"forces": 1.06}, "forces are not derivatives"),
        ({"stress": 160.2}, "stress is not the derivative"),
        ({"stress": -1.0}, "stress is not the derivative"),
        ({"swapped": 1}, "stress is not the derivative"),
        ({"nan": 1}, "not finite"),
        ({"short": 1}, "have the shape"),
    ],
)
def test_wrong_models_fail(fault: dict[str, float], said: str) -> None:
    with pytest.raises(SmokeTestError, match=said):
        judge(crystal(["Cu", "Au"]), Wrong(**fault), conservative=True)


def test_predicted_forces_are_told_and_not_judged() -> None:
    found = judge(crystal(["Cu"]), Wrong(forces=1.5), conservative=False)
    assert found["force_error_eV_per_A"] > 0.1


def test_as_the_program_it_is(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    program = package_folder() / "build" / "smoke_test.py"
    command = [sys.executable, str(program), "--model", "", "--device", "cpu"]
    command += ["--source", str(built_in_source("emt")), "--elements", "Cu", "--out", str(out)]
    subprocess.run(command, check=True, timeout=120, env=os.environ | {"PYTHONSAFEPATH": "1"})
    found: dict[str, Any] = json.loads(out.read_text())
    assert found["elements"] == ["Cu"]
    assert found["prefix"] == sys.prefix
    assert found["rootstock"] == str(package_folder())
    assert found["call_s"] > 0
