"""Hot molecular dynamics: what keeps its atoms and its energy passes."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from pyacemaker.validator.motion import MDStabilityCheck
from pyacemaker.validator.settings import ValidationSettings


def run(calculator, structure, **settings):
    return MDStabilityCheck(ValidationSettings(**settings)).run(calculator, structure, [])


def test_copper_keeps_its_energy(emt, copper):
    result = run(emt, copper, md_steps=120)
    assert result.passed, result.reason
    numbers = result.numbers
    assert 700 < numbers["md_temperature_K"] < 2000  # melts at 1358 K
    assert numbers["md_timestep_fs"] == pytest.approx(4.1, abs=0.3)
    assert abs(numbers["energy_drift_meV_per_atom_ps"]) < 0.1
    assert 1.0 < numbers["volume_ratio"] < 1.2
    assert len(result.series["total_energy_eV_per_atom"]) == 120
    kelvin = np.array(result.series["temperature_K"])
    assert 0.5 < kelvin[len(kelvin) // 2 :].mean() / numbers["md_temperature_K"] < 1.5


def test_forces_that_are_no_slope_of_the_energy_make_it_drift(altered, emt, copper):
    """A cell that turns round: forces along r x z have no potential."""

    def turning(results, atoms):
        if len(atoms) < 30:
            return
        ideal = np.rint(atoms.get_scaled_positions() * 4) / 4 @ atoms.cell.array
        off = atoms.get_positions() - ideal
        results["forces"] = results["forces"] + 0.1 * np.cross(off, [0, 0, 1.0])

    result = run(altered(emt, turning), copper, md_temperature_K=600.0, md_steps=100)
    assert not result.passed
    assert "total energy drifts" in result.reason or "runs away" in result.reason


def test_atoms_that_collapse_or_leave_are_told(altered, emt, copper):
    """Above 400 K worth of displacement nothing holds any more: a hole in the potential."""

    def hole(results, atoms):
        if len(atoms) < 30:
            return
        scaled = atoms.get_scaled_positions()
        off = scaled - np.rint(scaled * 4) / 4
        if np.abs(off @ atoms.cell.array).max() > 0.4:
            results["forces"] = results["forces"] + 8.0 * np.sign(off)

    result = run(altered(emt, hole), copper, md_temperature_K=1500.0)
    assert not result.passed
    assert "molecular dynamics at 1500 K" in result.reason
    assert any(
        word in result.reason for word in ("collapse", "left", "flies apart", "runs away", "finite")
    )
    (wanted,) = result.failure_structures
    assert wanted.info["provenance"]["generator"] == "validator.md_stability"


def test_the_drift_allowed_grows_with_the_temperature():
    """2 % of 3/2 kT at 1000 K is 2.6 meV."""
    assert 0.02 * 1500 * units.kB * 1000 == pytest.approx(2.585, rel=1e-3)
