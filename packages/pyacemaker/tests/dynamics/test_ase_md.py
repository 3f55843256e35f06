"""The same job by ASE, held to the same promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import fcc111
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet

from pyacemaker.dynamics.ase_md import ASEDynamics
from pyacemaker.dynamics.base import DynamicsError, MDRequest


@pytest.fixture
def calm(crystal, cu) -> MDRequest:
    return MDRequest(
        atoms=crystal,
        potential=cu.directory,
        temperature_K=(300.0, 300.0),
        steps=40,
        timestep_fs=2.0,
        gamma_halt=5.0,
    )


def test_inside_the_training_domain_runs_to_the_end_and_says_it_is_slow(calm, tmp_path):
    result = ASEDynamics().run(calm, tmp_path / "md")
    assert (result.status, result.steps_done) == ("completed", 40), result.message
    assert result.engine == "ase"
    assert any("slower than LAMMPS" in warning for warning in result.warnings)
    assert [s.step for s in result.trace] == [0, 10, 20, 30, 40]
    assert result.frame.arrays["gamma"].max() == pytest.approx(result.trace[-1].gamma_max)


def test_deterministic_for_a_seed(calm, tmp_path):
    request = replace(calm, steps=10)
    one = ASEDynamics().run(request, tmp_path / "a").frame
    two = ASEDynamics().run(request, tmp_path / "b").frame
    other = ASEDynamics().run(replace(request, seed=2), tmp_path / "c").frame
    np.testing.assert_array_equal(one.positions, two.positions)
    assert np.abs(one.positions - other.positions).max() > 1e-3


def test_the_same_run_heated_halts_at_a_look(calm, tmp_path):
    hot = replace(calm, temperature_K=(3000.0, 9000.0), steps=500, check_every=5, timestep_fs=3.0)
    result = ASEDynamics().run(hot, tmp_path / "md")
    assert result.status == "halted", result.message
    assert 0 < result.steps_done < 500
    assert result.steps_done % 5 == 0
    assert all(s.gamma_max <= 5.0 for s in result.trace[:-1])
    assert result.frame.arrays["gamma"].max() > 5.0


def test_a_start_outside_halts_at_step_0(calm, tmp_path):
    calm.atoms.positions[0] = calm.atoms.positions[1] + (0.5, 0.8, 0.1)
    result = ASEDynamics().run(calm, tmp_path / "md")
    assert (result.status, result.steps_done, len(result.trace)) == ("halted", 0, 1)


def test_momenta_are_used_as_they_are(calm, cu, tmp_path):
    """Over a time far below the thermostat's the run is Newton's."""
    normal = np.random.default_rng(1).normal(size=(len(calm.atoms), 3))
    kT = units.kB * 300.0
    calm.atoms.set_momenta(normal * np.sqrt(calm.atoms.get_masses() * kT)[:, None])
    result = ASEDynamics().run(replace(calm, steps=3, timestep_fs=0.5), tmp_path / "md")
    newton = calm.atoms.copy()
    newton.calc = cu.calculator()
    VelocityVerlet(newton, 0.5 * units.fs).run(3)
    moved = np.abs(newton.positions - calm.atoms.positions).max()
    np.testing.assert_allclose(result.frame.positions, newton.positions, atol=0.3 * moved)


@pytest.mark.parametrize("isotropic", [False, True])
def test_npt_compresses_under_pressure(calm, tmp_path, isotropic):
    request = replace(calm, pressure_GPa=20.0, steps=150, timestep_fs=4.0, gamma_halt=100.0)
    result = ASEDynamics(isotropic=isotropic).run(request, tmp_path / "md")
    assert result.status == "completed", result.message
    assert result.frame.get_volume() < 0.97 * calm.atoms.get_volume()
    shape = result.frame.cell.cellpar()
    same_shape = np.ptp(shape[:3]) < 1e-6 and np.abs(shape[3:] - 90.0).max() < 1e-6
    assert same_shape == isotropic


def test_ramp_heats(calm, tmp_path):
    request = replace(
        calm, temperature_K=(20.0, 900.0), steps=250, timestep_fs=5.0, gamma_halt=50.0
    )
    result = ASEDynamics().run(request, tmp_path / "md")
    assert result.status == "completed", result.message
    assert np.mean([s.temperature_K for s in result.trace[-5:]]) > 400.0
    assert np.mean([s.temperature_K for s in result.trace[:5]]) < 150.0


def test_fixed_atoms_stay(calm, tmp_path):
    slab = fcc111("Cu", (2, 2, 3), a=3.6, vacuum=8.0)
    slab.pbc = (True, True, False)
    slab.set_constraint(FixAtoms([0, 1, 2, 3]))
    result = ASEDynamics().run(replace(calm, atoms=slab, steps=10, gamma_halt=1e6), tmp_path / "md")
    assert result.status == "completed", result.message
    np.testing.assert_array_equal(result.frame.positions[:4], slab.positions[:4])
    assert np.abs(result.frame.positions[4:] - slab.positions[4:]).max() > 0.01


def test_an_explosion_fails_and_ends(calm, tmp_path):
    request = replace(calm, timestep_fs=80.0, gamma_halt=1e30, steps=100_000)
    result = ASEDynamics().run(request, tmp_path / "md")
    assert result.status == "failed"
    assert result.steps_done < 1000
    assert np.isfinite(result.frame.positions).all()


def test_the_time_limit_keeps_the_last_frame(calm, tmp_path):
    result = ASEDynamics().run(replace(calm, steps=10**6, timeout_s=0.5), tmp_path / "md")
    assert result.status == "failed"
    assert "time limit" in result.message
    assert 0 < result.steps_done < 10**6


def test_gamma_that_is_silently_zero_is_caught(calm, cu, with_active_set, tmp_path):
    dead = with_active_set(cu, {"Cu": 0.0})
    with pytest.raises(DynamicsError, match="active set"):
        ASEDynamics().run(replace(calm, potential=dead.directory), tmp_path / "md")


def test_constant_pressure_needs_all_directions(calm, tmp_path):
    calm.atoms.pbc = (True, True, False)
    with pytest.raises(ValueError, match="three directions"):
        ASEDynamics().run(replace(calm, pressure_GPa=0.0), tmp_path / "md")
