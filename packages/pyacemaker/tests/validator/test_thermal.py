"""Thermal expansion against phonopy's own quasi-harmonic route, and measured values."""

from __future__ import annotations

import numpy as np
import pytest
from phonopy import PhonopyQHA

from pyacemaker.validator.eos import scaled
from pyacemaker.validator.evaluation import evaluate
from pyacemaker.validator.harmonic import vibrations
from pyacemaker.validator.lattice_dynamics import force_constants
from pyacemaker.validator.relax import relax
from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.thermal import ThermalExpansionCheck


@pytest.mark.filterwarnings("ignore:.*Phonopy.*deprecated", "ignore:.*get_thermal_properties_dict")
@pytest.mark.filterwarnings("ignore:.*acoustic mode")
def test_copper_as_by_minimising_the_free_energy(emt, copper):
    """F(V, T) at eleven volumes, fitted and minimised by phonopy: another route to alpha."""
    settings = ValidationSettings(thermal_temperature_K=200.0, phonon_min_edge_A=7.0)
    result = ThermalExpansionCheck(settings).run(emt, copper, [])
    assert result.passed, result.reason
    crystal = relax(copper, emt, settings).atoms
    volumes, energies, free, entropy, capacity = [], [], [], [], []
    temperatures = np.arange(0.0, 420.0, 10.0)
    for change in np.linspace(-0.03, 0.05, 6):
        atoms = scaled(crystal, 1 + float(change))
        phonopy = force_constants(atoms, emt, settings).phonopy
        phonopy.run_mesh(30.0)
        phonopy.run_thermal_properties(temperatures=temperatures)
        thermal = phonopy.get_thermal_properties_dict()
        volumes.append(atoms.get_volume())
        energies.append(evaluate(atoms, emt).energy_eV)
        free.append(thermal["free_energy"])
        entropy.append(thermal["entropy"])
        capacity.append(thermal["heat_capacity"])
    qha = PhonopyQHA(
        volumes=np.array(volumes),
        electronic_energies=np.array(energies),
        temperatures=temperatures,
        free_energy=np.array(free).T,
        cv=np.array(capacity).T,
        entropy=np.array(entropy).T,
        eos="birch_murnaghan",
        t_max=400,
    )
    linear = qha.thermal_expansion[20] / 3
    # At fixed volume the cell has not yet expanded: a few per cent less at 200 K.
    assert result.numbers["thermal_expansion_per_K"] == pytest.approx(linear, rel=0.1)


def test_argon_near_what_is_measured(argon_potential, argon):
    """Gruneisen's parameter of rare-gas solids is 2.5 to 3 (G. K. Horton, Am. J. Phys. 1968)."""
    result = ThermalExpansionCheck().run(argon_potential, argon, [])
    assert result.passed, result.reason
    assert 2.5 < result.numbers["grueneisen_parameter"] < 3.3
    assert 60 < result.numbers["lindemann_melting_K"] < 130  # measured: 83.8 K


def test_classical_limits(emt, copper):
    found = vibrations(copper, emt, ValidationSettings(), 7.0)
    assert found.heat_capacity(5000.0) == pytest.approx(3 * 8.617333e-5, rel=0.01)
    assert found.displacement_ratio(400.0) == pytest.approx(2 * found.displacement_ratio(100.0))
    low, high = found.entropy(299.0), found.entropy(301.0)
    assert 300 * (high - low) / 2 == pytest.approx(found.heat_capacity(300.0), rel=1e-3)


def test_a_crystal_without_restoring_forces_is_refused(altered, emt, copper):
    flat = altered(emt, lambda r, a: r["forces"].fill(0.0))
    result = ThermalExpansionCheck().run(flat, copper, [])
    assert not result.passed
    assert "no forces pull atoms back" in result.reason


def test_an_absurd_grueneisen_parameter_is_refused(emt, copper):
    result = ThermalExpansionCheck(ValidationSettings(max_grueneisen=0.5)).run(emt, copper, [])
    assert not result.passed
    assert "Grueneisen parameter" in result.reason
