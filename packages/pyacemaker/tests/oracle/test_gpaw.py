"""GPAW run for real, and compared with Quantum ESPRESSO: other code, same physics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.dft_settings import GPAWSettings
from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.gpaw.oracle import INPUT, RESULT, GPAWOracle


def _missing() -> bool:
    """Say whether there is no GPAW, and nobody insists that there be one (CI does)."""
    if os.environ.get("PYACEMAKER_ALL_TESTS"):
        return False
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('gpaw') is None)"
    try:
        return subprocess.run(["/usr/bin/python3", "-c", probe], check=False).returncode != 0
    except OSError:
        return True


with_gpaw = pytest.mark.skipif(_missing(), reason="no GPAW: apt install gpaw gpaw-data")


def oracle(**changes: object) -> GPAWOracle:
    values = {"ecut_eV": 300, "kspacing_per_A": 0.8, "smearing_eV": 0.1, **changes}
    return GPAWOracle(GPAWSettings.model_validate(values))


@pytest.mark.real
@with_gpaw
def test_forces_and_stress_are_those_of_quantum_espresso(
    tmp_path: Path, silicon: Atoms, coarse: Callable[..., EspressoOracle]
) -> None:
    by_gpaw = oracle().label(silicon, tmp_path / "gpaw")
    # 0.1 eV of Fermi-Dirac on both sides, the same mesh
    by_qe = coarse(
        ecutwfc_Ry=24.0, kspacing_per_A=0.8, smearing="fd", degauss_Ry=0.1 / 13.605693
    ).label(silicon, tmp_path / "qe")
    ours, theirs = by_gpaw.atoms, by_qe.atoms
    assert by_gpaw.meta["gap_eV"] == by_qe.meta["gap_eV"] == 0.0  # so far off its sites
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=0.05)
    assert np.abs(theirs.get_forces()).max() > 1
    np.testing.assert_allclose(ours.get_stress() / GPa, theirs.get_stress() / GPa, atol=1.0)


@pytest.mark.real
@with_gpaw
def test_the_gap_is_that_of_quantum_espresso(
    tmp_path: Path, coarse: Callable[..., EspressoOracle]
) -> None:
    crystal = bulk("Si", a=5.43)
    ours = oracle(ecut_eV=200).label(crystal, tmp_path / "gpaw").meta["gap_eV"]
    theirs = coarse(ecutwfc_Ry=16.0, kspacing_per_A=0.8, smearing="fd", degauss_Ry=0.007)
    assert ours == pytest.approx(theirs.label(crystal, tmp_path / "qe").meta["gap_eV"], abs=0.1)
    assert 0.4 < ours < 1.2  # PBE: 0.6 between the mesh's own points


@pytest.mark.real
@with_gpaw
def test_forces_are_the_derivative_of_the_energy_and_a_result_is_read_back(
    tmp_path: Path, silicon: Atoms
) -> None:
    label = oracle().label(silicon, tmp_path / "a")
    energies = []
    for sign in (-1, 1):
        moved = silicon.copy()
        moved.positions[1, 0] += sign * 0.01
        folder = tmp_path / f"m{sign}"
        energies.append(oracle().label(moved, folder).atoms.get_potential_energy())
    slope = -(energies[1] - energies[0]) / 0.02
    assert label.atoms.get_forces()[1, 0] == pytest.approx(slope, abs=5e-3)
    before = (tmp_path / "a" / RESULT).stat().st_mtime_ns
    again = oracle().label(silicon, tmp_path / "a")
    assert again.meta["recovered"] is True
    assert (tmp_path / "a" / RESULT).stat().st_mtime_ns == before
    assert again.atoms.get_potential_energy() == label.atoms.get_potential_energy()
    (tmp_path / "a" / RESULT).write_text('{"energy": ')  # truncated by a power failure
    assert oracle().label(silicon, tmp_path / "a").meta["recovered"] is False


@pytest.mark.real
@with_gpaw
def test_settings_tell_versions_setups_and_spins() -> None:
    settings = oracle(nspin=2, moments_muB={"Fe": 3}).settings(bulk("Fe"))
    assert settings["moments_muB"] == {"Fe": 3.0}
    assert len(settings["setups"]["Fe"]) == 64
    assert settings["version"][0].isdigit()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["kmesh"] == list(settings["kmesh"])


@pytest.mark.real
@with_gpaw
def test_what_gpaw_cannot_do_is_one_line(tmp_path: Path, silicon: Atoms) -> None:
    with pytest.raises(OracleError, match="onverge") as caught:
        oracle(electron_maxstep=1).label(silicon, tmp_path)
    assert caught.value.meta["attempts"][0]["family"] == "scf"
    assert "\n" not in caught.value.diagnosis
    with pytest.raises(OracleError, match="no PBE setup for Po"):
        oracle().settings(bulk("Po"))


@pytest.mark.parametrize("command", [sys.executable, "/nowhere/python"])
def test_a_python_without_gpaw_is_named_with_the_remedy(command: str, silicon: Atoms) -> None:
    with pytest.raises(OracleError, match="gpaw-data"):
        oracle(command=command).settings(silicon)


def test_a_result_of_another_job_is_not_taken(tmp_path: Path) -> None:
    from pyacemaker.oracle.gpaw.oracle import _finished

    (tmp_path / INPUT).write_text("{}")
    (tmp_path / RESULT).write_text('{"converged": true}')
    assert _finished(tmp_path, "{}") == {"converged": True}
    assert _finished(tmp_path, '{"other": 1}') is None
    (tmp_path / RESULT).write_text('{"converged": false}')
    assert _finished(tmp_path, "{}") is None
