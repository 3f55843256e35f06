"""The models that need no environment, and the one whose package is still to come."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from rootstock.build.smoke_test import crystal, judge, load
from rootstock.root.shipped import FOLDER


def test_emt_is_ases() -> None:
    found = judge(crystal(["Cu"]), load(FOLDER / "emt.py", "", "cpu", {}), conservative=True)
    assert found["force_error_eV_per_A"] < 1e-5
    with pytest.raises(ValueError, match="no models to choose from"):
        load(FOLDER / "emt.py", "medium", "cpu", {})


def test_lj_is_argon_unless_told_otherwise() -> None:
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.4 * 2 ** (1 / 6)]])
    dimer.calc = load(FOLDER / "lj.py", "", "cpu", {})
    assert dimer.get_potential_energy() == pytest.approx(-120.0 * kB, rel=0.02)
    argon = bulk("Ar", cubic=True)
    argon.rattle(0.1, seed=1)
    argon.calc = load(FOLDER / "lj.py", "", "cpu", {})
    assert judge(argon, argon.calc, conservative=True)["force_error_eV_per_A"] < 1e-4
    dimer.calc = load(FOLDER / "lj.py", "", "cpu", {"sigma": 1.0, "epsilon": 2.0, "rc": 10.0})
    dimer.positions[1, 2] = 2 ** (1 / 6)
    np.testing.assert_allclose(dimer.get_potential_energy(), -2.0, rtol=0.01)


def test_esper_says_that_its_package_is_absent() -> None:
    with pytest.raises(RuntimeError, match="esper is not in this environment"):
        load(FOLDER / "esper_env.py", "/anything", "cpu", {})
