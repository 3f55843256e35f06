"""The adapter with a real eonclient, where one is at hand: named, on the PATH, or built."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.base import KMCRequest, KMCResult
from pyacemaker.dynamics.kmc.eon.engine import EONKMC
from pyacemaker.dynamics.kmc.eon.installation import Installation, find_eon
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.neb import neb_barrier
from pyacemaker.dynamics.kmc.prefactor import vineyard_prefactor
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.potential import Potential

pytestmark = pytest.mark.real

Slab = Callable[..., Atoms]


@pytest.fixture(scope="module")
def eon() -> Installation:
    try:
        return find_eon(None)
    except DynamicsError as error:
        pytest.skip(str(error))


def quiet(done: int, total: int, told: str) -> None:
    """Listen to nothing."""


@pytest.fixture(scope="module")
def walked(
    eon: Installation, slab: Slab, tmp_path_factory: pytest.TempPathFactory
) -> tuple[KMCResult, Landscape]:
    """One hop of a copper adatom on (100), from a state that three searches tell of."""
    settings = KMCSettings(
        temperature_K=300, engine="eon", events=1, max_searches=2, max_barrier_eV=1.2
    )
    landscape = Landscape(EMT(), "emt")
    request = KMCRequest(slab("Cu"), landscape, settings, seed=1, timeout_s=600)
    return EONKMC(eon).run(request, tmp_path_factory.mktemp("eon"), quiet), landscape


def test_barriers_are_those_of_an_elastic_band(walked: tuple[KMCResult, Landscape]) -> None:
    result, landscape = walked
    assert (result.status, len(result.hops)) == ("completed", 1)
    state = result.states[0]
    assert state.mechanisms
    for one in state.mechanisms:
        band = neb_barrier(state.atoms, one.product, landscape, images=3, fmax=0.05)
        assert one.barrier_eV == pytest.approx(band, rel=0.02)


def test_prefactors_are_vineyards(walked: tuple[KMCResult, Landscape]) -> None:
    """EON relaxes the minimum anew, so its soft modes are a little others."""
    result, landscape = walked
    state = result.states[0]
    one = min(state.mechanisms, key=lambda mechanism: mechanism.barrier_eV)
    saddle, product = state.atoms.copy(), state.atoms.copy()
    saddle.positions += one.saddle
    product.positions += one.product
    ours = vineyard_prefactor(state.atoms, saddle, product, landscape)
    assert one.prefactor_THz == pytest.approx(ours, rel=0.15)


def test_minima_saddles_and_modes_are_those_of_our_landscape(
    walked: tuple[KMCResult, Landscape],
) -> None:
    result, _ = walked
    state = result.states[0]
    one = state.mechanisms[0]
    for moved in (0.0, one.saddle, one.product):
        atoms = state.atoms.copy()
        atoms.positions += moved
        atoms.calc = EMT()
        assert np.abs(atoms.get_forces()).max() < 0.02
    saddle = state.atoms.copy()
    saddle.positions += one.saddle
    mode = one.mode / np.linalg.norm(one.mode)
    energies = []
    for step in (-0.05, 0.0, 0.05):
        atoms = saddle.copy()
        atoms.positions += step * mode
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    assert energies[1] > max(energies[0], energies[2])


def test_gamma_halts_eons_search(eon: Installation, cu: Potential, tmp_path: Path) -> None:
    crystal = bulk("Cu", "fcc", 3.6, cubic=True) * (2, 2, 2)
    del crystal[0]
    settings = KMCSettings(temperature_K=300, engine="eon", events=1, displacement_A=0.4)
    landscape = Landscape(cu.calculator(), "cu", 2.0)
    request = KMCRequest(crystal, landscape, settings, seed=1, timeout_s=120)
    result = EONKMC(eon).run(request, tmp_path, quiet)
    assert result.status == "halted"
    assert "exceeds 2 after 0 hops" in result.message
    assert result.frame.get_array("gamma").max() > 2
    # A client whose evaluations are refused ends; none is left searching.
    deadline = time.monotonic() + 20
    while _clients(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _clients(tmp_path)


def _clients(folder: Path) -> list[Path]:
    """Return the processes that work below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = (process / "cwd").readlink()
        except OSError:
            continue
        if where.is_relative_to(folder):
            found.append(process)
    return found
