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


def test_lj_is_ases_with_its_options() -> None:
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 2 ** (1 / 6)]])
    options = {"sigma": 1.0, "epsilon": 2.0, "rc": 10.0}
    dimer.calc = load(FOLDER / "lj.py", "", "cpu", options)
    np.testing.assert_allclose(dimer.get_potential_energy(), -2.0, rtol=0.01)
    argon = bulk("Ar", cubic=True)
    argon.rattle(0.1, seed=1)
    options = {"sigma": 3.4, "epsilon": 120 * kB, "rc": 10.0, "smooth": True}
    found = judge(argon, load(FOLDER / "lj.py", "", "cpu", options), conservative=True)
    assert found["force_error_eV_per_A"] < 1e-4


def test_esper_takes_a_folder_and_no_options() -> None:
    for model, device, options, words in (
        ("/nowhere", "cpu", {}, "needs a potential's folder"),
        ("/tmp", "cuda", {}, "CPU only"),
        ("/tmp", "cpu", {"head": 1}, "takes no options: head"),
    ):
        with pytest.raises(ValueError, match=words):
            load(FOLDER / "esper_env.py", model, device, options)
