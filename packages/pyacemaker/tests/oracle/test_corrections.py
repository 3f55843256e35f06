"""Dispersion and Hubbard U in real runs of pw.x: other energies, derivatives that still fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from pyacemaker.labels import label_key
from pyacemaker.oracle.base import Label
from pyacemaker.oracle.espresso.oracle import EspressoOracle

pytestmark = pytest.mark.real
Coarse = Callable[..., EspressoOracle]


@pytest.mark.parametrize("vdw", ["d3", "d3bj"])
def test_dispersion_binds_and_its_forces_are_derivatives(
    tmp_path: Path, coarse: Coarse, silicon: Atoms, vdw: str
) -> None:
    both = coarse(), coarse(vdw=vdw)
    here = [make.label(silicon, tmp_path / f"h{n}") for n, make in enumerate(both)]
    plain, label = here
    gain = plain.atoms.get_potential_energy() - label.atoms.get_potential_energy()
    assert 0.05 < gain < 1.0  # eV for two atoms: attractive
    assert np.abs(label.atoms.get_stress() - plain.atoms.get_stress()).max() > 0.05 * GPa
    assert label_key(silicon, label.settings) != label_key(silicon, plain.settings)
    moved = silicon.copy()
    moved.positions[1, 0] += 0.1
    there = [make.label(moved, tmp_path / f"m{n}") for n, make in enumerate(both)]
    # of the dispersion alone: the coarse basis makes errors of its own, alike in both
    change = _dispersion(there, "energy") - _dispersion(here, "energy")
    mean = 0.5 * (_dispersion(here, "forces") + _dispersion(there, "forces"))[1, 0]
    assert abs(change) > 5e-4
    assert change == pytest.approx(-mean * 0.1, rel=0.25)  # trapezoidal, over a bond's tenth


def _dispersion(labels: list[Label], name: str) -> Any:
    plain, corrected = (label.atoms.calc.results[name] for label in labels)
    return np.asarray(corrected) - np.asarray(plain)


def test_hubbard_u_raises_the_energy_of_open_d_shells(tmp_path: Path, coarse: Coarse) -> None:
    atoms = bulk("Ti", "bcc", a=3.3)
    plain = coarse(ecutwfc_Ry=24.0).label(atoms, tmp_path / "plain")
    label = coarse(ecutwfc_Ry=24.0, hubbard_U_eV={"Ti-3d": 3.0}).label(atoms, tmp_path / "u")
    # U/2 sum(n - n^2) is positive, and the density gives way only in part
    difference = label.atoms.get_potential_energy() - plain.atoms.get_potential_energy()
    assert 0.5 < difference < 8.0
    assert label.settings["hubbard_U_eV"] == {"Ti-3d": 3.0}
    assert label_key(atoms, label.settings) != label_key(atoms, plain.settings)
    assert np.isfinite(label.atoms.get_stress()).all()
