"""Hop and exchange of an adatom on (100): the walk's barriers against an elastic band's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import FIRE
from ase.vibrations import Vibrations

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.adaptive import _superbasin
from pyacemaker.dynamics.kmc.base import KMCResult
from pyacemaker.dynamics.kmc.geometry import free_atoms
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.neb import neb_barrier
from pyacemaker.dynamics.kmc.prefactor import rate
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.dynamics.kmc.table import Mechanism, State, StateTable, TableError

Slab = Callable[..., Atoms]
Walked = Callable[..., KMCResult]


def hop_of(state: State) -> Mechanism:
    """The way in which the adatom alone goes to the next hollow: the lowest."""
    return min(state.mechanisms, key=lambda one: one.barrier_eV)


def exchange_of(state: State) -> Mechanism:
    """The way in which the adatom goes in and an atom of the surface comes out."""
    found = [
        one
        for one in state.mechanisms
        if (np.linalg.norm(one.product, axis=1) > 1.0).sum() == 2 and one.product[-1, 2] < -1.0
    ]
    return min(found, key=lambda one: one.barrier_eV)


def climbing_band(state: Atoms, product: np.ndarray) -> float:
    """A barrier (eV) by ASE's own elastic band, which knows nothing of the walk's saddle."""
    end = state.copy()
    end.positions += product
    chain = [state.copy() for _ in range(8)] + [end]
    band = NEB(chain, climb=True, method="improvedtangent")
    band.interpolate(method="idpp", mic=True)
    for image in chain:
        image.calc = EMT()
    assert FIRE(band, logfile=None).run(fmax=0.02, steps=800)
    energies = [image.get_potential_energy() for image in chain]
    return max(energies) - energies[0]


def test_hop_and_exchange_have_the_barriers_of_an_elastic_band(
    surface: tuple[str, KMCResult],
) -> None:
    _, result = surface
    state = result.states[0]
    for mechanism in (hop_of(state), exchange_of(state)):
        band = climbing_band(state.atoms, mechanism.product)
        assert mechanism.barrier_eV == pytest.approx(band, rel=0.02)
        assert mechanism.reverse_barrier_eV == pytest.approx(band, rel=0.02)


def test_the_hop_has_four_directions_and_one_state_is_enough(
    surface: tuple[str, KMCResult],
) -> None:
    symbol, result = surface
    assert result.status == "completed"
    assert len(result.hops) == 5
    state = result.states[0]
    hop = hop_of(state)
    assert len(hop.copies) == 4
    ways = {tuple(np.round(hop.copy_of(hop.product, k)[-1, :2] / 2.5)) for k in range(4)}
    assert ways == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    assert len(exchange_of(state).copies) == 4
    assert len(result.states) == 1  # every hollow is the same one, by translation
    assert {"Al": 0.23, "Cu": 0.42}[symbol] == pytest.approx(hop.barrier_eV, abs=0.02)
    assert state.confidence >= 0.8


def test_the_walk_goes_from_hollow_to_hollow(surface: tuple[str, KMCResult]) -> None:
    _, result = surface
    state = result.states[0]
    moved = np.linalg.norm(result.frame.positions - state.atoms.positions, axis=1)
    assert moved[:9].max() < 1e-9  # what is held stays where it is
    atoms = result.frame.copy()
    atoms.calc = EMT()
    assert np.abs(atoms.get_forces()).max() < 0.03
    assert atoms.get_potential_energy() == pytest.approx(state.energy_eV, abs=2e-3)
    clock = [hop.time_s for hop in result.hops]
    assert clock == sorted(clock)
    assert result.time_s == clock[-1] > 0
    total = sum(
        len(one.copies) * rate(one.barrier_eV, one.prefactor_THz, 300) for one in state.mechanisms
    )
    assert result.hops[0].total_rate_per_s == pytest.approx(total)


def test_vineyard_agrees_with_another_program(
    surface: tuple[str, KMCResult], tmp_path: Path
) -> None:
    """The frequencies by ASE's Vibrations, with other displacements and its own formula."""
    _, result = surface
    state = result.states[0]
    hop = hop_of(state)
    saddle = state.atoms.copy()
    saddle.positions += hop.saddle
    products = []
    for name, structure in (("minimum", state.atoms), ("saddle", saddle)):
        atoms = structure.copy()
        free = free_atoms(atoms)
        atoms.set_constraint()
        atoms.calc = EMT()
        vibrations = Vibrations(atoms, indices=free, name=tmp_path / name, delta=0.02, nfree=4)
        vibrations.run()
        energies = vibrations.get_energies()
        real = energies[np.abs(energies.imag) < 1e-10].real
        assert len(real) == 3 * len(free) - (name == "saddle")
        products.append(np.log(real / 4.135667696e-3))  # eV to THz
    assert hop.prefactor_THz == pytest.approx(
        np.exp(products[0].sum() - products[1].sum()), rel=0.02
    )


def test_our_own_band_agrees_too(surface: tuple[str, KMCResult]) -> None:
    symbol, result = surface
    if symbol == "Al":
        pytest.skip("one metal is enough for the same code")
    state = result.states[0]
    hop = hop_of(state)
    band = neb_barrier(state.atoms, hop.product, Landscape(EMT(), "emt"), images=3, fmax=0.05)
    assert hop.barrier_eV == pytest.approx(band, rel=0.02)


def test_a_longer_walk_goes_on_from_the_table(slab: Slab, walked: Walked, tmp_path: Path) -> None:
    small = slab("Cu", (2, 2, 3))
    quick = {"max_barrier_eV": 0.8, "prefactor_THz": 5, "confidence": 0.5}
    first = walked(small, tmp_path / "a", events=1, **quick)
    longer = walked(small, tmp_path / "a", events=2, **quick)
    at_once = walked(small, tmp_path / "b", events=2, **quick)
    assert first.status == longer.status == "completed"
    assert longer.hops[:1] == first.hops
    assert longer.hops == at_once.hops
    assert longer.searches == at_once.searches
    assert (longer.frame.positions == at_once.frame.positions).all()


def test_a_hop_costs_the_same_however_many_were_made(
    slab: Slab, walked: Walked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, every = [], StateTable.hops
    monkeypatch.setattr(StateTable, "hops", lambda table: read.append(1) or every(table))
    quick = {"max_barrier_eV": 0.8, "prefactor_THz": 5, "confidence": 0.5}
    small = slab("Cu", (2, 2, 3))
    assert walked(small, tmp_path, events=1, **quick).status == "completed"
    once = len(read)
    longer = walked(small, tmp_path, events=12, **quick)
    assert [hop.number for hop in longer.hops] == list(range(12))
    assert len(read) == 2 * once
    with StateTable(longer.table) as table:  # a count, not a list that grows
        assert 0 <= table.fact("returned") <= 12


def test_a_walk_that_mostly_undoes_its_hops_says_so() -> None:
    (text,) = _superbasin(9, 10)
    assert text.startswith("90 % of the hops undid the one before")
    assert _superbasin(7, 10) == _superbasin(9, 9) == ()


def test_what_cannot_be_walked_is_refused(slab: Slab, walked: Walked, tmp_path: Path) -> None:
    small = slab("Cu", (2, 2, 3))
    with pytest.raises(DynamicsError, match="no atoms"):
        walked(Atoms(), tmp_path / "none")
    broken = small.copy()
    broken.positions[0, 0] = np.nan
    with pytest.raises(DynamicsError, match="not finite"):
        walked(broken, tmp_path / "nan")
    quick = {"events": 1, "max_searches": 1, "max_barrier_eV": 1e-3}
    lost = walked(small, tmp_path / "lost", **quick)
    assert lost.status == "failed"
    assert "no way out of state 0 was found in 1 searches" in lost.message
    with pytest.raises(TableError, match="holds another walk"):
        walked(slab("Al", (2, 2, 3)), tmp_path / "lost", **quick)
    foreign = small.copy()
    foreign.symbols[-1] = "Si"
    with pytest.raises(DynamicsError, match="cannot evaluate the structure"):
        walked(foreign, tmp_path / "mended", **quick)
    assert walked(small, tmp_path / "mended", **quick).status == "failed"  # begun anew there


def test_a_damaged_table_is_named(slab: Slab, walked: Walked, tmp_path: Path) -> None:
    quick = {"events": 1, "max_searches": 1, "max_barrier_eV": 1e-3}
    walked(slab("Cu", (2, 2, 3)), tmp_path, **quick)
    path = tmp_path / "kmc.db"
    with StateTable(path) as table:
        table._connection.execute("UPDATE entry SET content = '{}' WHERE kind = 'state'")
    with StateTable(path) as table, pytest.raises(TableError, match="checksum of state 0"):
        table.states()
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(TableError, match="damaged"):
        StateTable(path)
    with pytest.raises(TableError, match="cannot be opened"):
        StateTable(tmp_path)


def test_confidence_is_that_of_the_paper() -> None:
    state = State(0, Atoms("Cu2"), 0.0, "emt")
    assert state.confidence == 0.0
    assert State(0, Atoms("Cu2"), 0.0, "emt", streak=1).confidence == 0.0
    assert State(0, Atoms("Cu2"), 0.0, "emt", streak=20).confidence == pytest.approx(0.95)
    with pytest.raises(ValueError, match="add engine: eon"):
        KMCSettings(temperature_K=300, eon="/opt/eon")
    assert KMCSettings(temperature_K=300).confidence == 0.9
