"""Adatoms on (100), by EMT: walked over once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pyacemaker.dynamics.kmc.adaptive import AdaptiveKMC
from pyacemaker.dynamics.kmc.base import KMCRequest, KMCResult
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.settings import KMCSettings

Slab = Callable[..., Atoms]


def adatom(symbol: str, size: tuple[int, int, int] = (3, 3, 3)) -> Atoms:
    """Return an adatom in a hollow of (100), the lowest layer held."""
    slab = fcc100(symbol, size, vacuum=5, periodic=True)
    add_adsorbate(slab, symbol, 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=[atom.tag == size[2] for atom in slab]))
    slab.info = {}
    return slab


def quiet(done: int, total: int, told: str) -> None:
    """Listen to nothing."""


def walk(
    atoms: Atoms,
    workdir: Path,
    landscape: Landscape | None = None,
    table: Path | None = None,
    **settings: object,
) -> KMCResult:
    """Return a walk at 300 K, by EMT where no landscape is given."""
    chosen = KMCSettings.model_validate({"temperature_K": 300, **settings})
    landscape = landscape or Landscape(EMT(), "emt")
    return AdaptiveKMC().run(KMCRequest(atoms, landscape, chosen, 1, table), workdir, quiet)


@pytest.fixture(scope="session")
def slab() -> Slab:
    return adatom


@pytest.fixture(scope="session")
def walked() -> Callable[..., KMCResult]:
    return walk


@pytest.fixture(scope="session", params=["Al", "Cu"])
def surface(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, KMCResult]:
    """A walk of five hops on each metal, its first state known at a confidence of 0.8."""
    symbol = str(request.param)
    folder = tmp_path_factory.mktemp("kmc") / symbol
    return symbol, walk(adatom(symbol), folder, events=5, max_barrier_eV=1.2, confidence=0.8)
