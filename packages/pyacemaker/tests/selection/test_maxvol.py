from __future__ import annotations

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pyacemaker.potential import PotentialError
from pyacemaker.selection.maxvol import MaxVolSelector, RandomSelector
from pyacemaker.trainer.settings import TrainerSettings

SETTINGS = TrainerSettings(functions_per_element=60)


@pytest.fixture(scope="module")
def selector() -> MaxVolSelector:
    return MaxVolSelector.for_elements(["Cu"], SETTINGS)


@pytest.fixture(scope="module")
def pool(emt):
    return emt.rattled(["Cu"], 40, seed=11)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def twin(atoms: Atoms) -> Atoms:
    """The same structure, turned, moved, reflected, reordered and doubled."""
    other = atoms * (1, 2, 1)
    other.rotate(37, (1, 2, 3), rotate_cell=True)
    other.positions += [0.4, -3.0, 1.7]
    other.set_cell(-other.cell[:])
    other.positions *= -1.0
    order = np.random.default_rng(1).permutation(len(other))
    return other[order]


def test_the_outlandish_comes_first(selector, pool, rng):
    strange = [bulk("Cu", "sc", a=2.2), bulk("Cu", a=2.8), bulk("Cu", a=4.5)]
    chosen = selector.select([*pool[:20], *strange], pool[20:], 3, rng)
    assert set(chosen.indices) == {20, 21, 22}
    assert min(chosen.gamma) > 5.0


def test_count_order_and_determinism(selector, pool):
    chosen = [selector.select(pool, [], 10, np.random.default_rng(s)) for s in (1, 2)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0].indices)) == len(chosen[0].gamma) == 10
    shorter = selector.select(pool, [], 4, np.random.default_rng(1))
    assert shorter.indices == chosen[0].indices[:4]


def test_no_more_than_there_are_and_none_of_nothing(selector, pool, rng):
    assert sorted(selector.select(pool[:5], [], 50, rng).indices) == [0, 1, 2, 3, 4]
    assert selector.select([], pool, 5, rng).indices == ()
    assert selector.select(pool, [], 0, rng).indices == ()


def test_duplicates_are_never_chosen(selector, pool, rng):
    twins = [twin(a) for a in pool[:4]]
    assert selector.select(twins, pool[:4], 10, rng).indices == ()
    both = selector.select([*pool[:4], *twins], [], 10, rng)
    assert sorted(n % 4 for n in both.indices) == [0, 1, 2, 3]
    nearly = [a.copy() for a in pool[:4]]
    for a in nearly:
        a.positions += np.random.default_rng(3).normal(scale=5e-5, size=a.positions.shape)
    assert selector.select(nearly, pool[:4], 10, rng).indices == ()


def test_a_phonon_displacement_or_a_strain_is_no_duplicate(selector, rng):
    crystal = bulk("Cu", cubic=True) * (2, 2, 2)
    moved, strained = crystal.copy(), crystal.copy()
    moved.positions[0, 0] += 0.01
    strained.set_cell(crystal.cell[:] * 1.002, scale_atoms=True)
    assert sorted(selector.select([moved, strained], [crystal], 5, rng).indices) == [0, 1]


def test_known_ground_gives_small_gamma_and_can_be_refused(emt, pool, rng):
    eager = MaxVolSelector.for_elements(["Cu"], SETTINGS)
    more = emt.rattled(["Cu"], 10, seed=12, rattle_A=0.04, strain=0.01)
    assert max(eager.select(more, pool, 10, rng).gamma) < 2.0
    eager.minimum_gamma = 2.0
    assert eager.select(more, pool, 10, rng).indices == ()


def test_choice_spans_more_than_chance(selector, emt, rng):
    """D-optimality against random choice, by the determinant it is about."""
    mixture = [
        *emt.rattled(["Cu"], 60, seed=21, rattle_A=0.02, strain=0.005),
        *emt.rattled(["Cu"], 6, seed=22, rattle_A=0.15, strain=0.06),
    ]
    scale = None

    def volume(indices):
        nonlocal scale
        rows = np.vstack([selector._projector.projections(mixture[n])["Cu"] for n in indices])
        scale = np.abs(rows).max(axis=0) if scale is None else scale
        rows = rows / scale
        return np.linalg.slogdet(rows.T @ rows + 1e-6 * np.eye(rows.shape[1]))[1]

    by_design = volume(selector.select(mixture, [], 8, rng).indices)
    by_chance = [
        volume(RandomSelector.for_elements(["Cu"], SETTINGS).select(mixture, [], 8, rng).indices)
        for _ in range(5)
    ]
    assert by_design > max(by_chance) + 20.0


def test_alloys_and_an_element_not_seen_before(emt, rng):
    selector = MaxVolSelector.for_elements(["Cu", "Au"], SETTINGS)
    copper, mixed = emt.rattled(["Cu"], 6, seed=1), emt.rattled(["Cu", "Au"], 3, seed=2)
    chosen = selector.select([*copper[3:], *mixed], copper[:3], 3, rng)
    assert set(chosen.indices) == {3, 4, 5}
    with pytest.raises(PotentialError, match="does not know Zr"):
        selector.select([bulk("Zr")], [], 1, rng)


def test_isolated_atoms_and_dimers_do_no_harm(selector, rng):
    pool = [Atoms("Cu"), Atoms("Cu", cell=[20, 20, 20], pbc=True), bulk("Cu")]
    pool += [Atoms("Cu2", [[0, 0, 0], [0, 0, r]]) for r in (1.5, 2.0, 2.5)]
    chosen = selector.select(pool, [], 10, rng)
    assert {2, 3, 4, 5} <= set(chosen.indices)
    assert not {0, 1} <= set(chosen.indices), "one isolated atom is like another"


def test_a_batch_ends_where_little_is_gained(pool, rng):
    """The rest of the pool is worth less than a fifth of the best, and is left alone."""
    strange = [bulk("Cu", "sc", a=2.2), bulk("Cu", a=2.8)]
    whole = MaxVolSelector.for_elements(["Cu"], SETTINGS)
    frugal = MaxVolSelector.for_elements(["Cu"], SETTINGS, least_gain=0.2)
    filled = whole.select([*pool[:20], *strange], pool[20:], 15, rng)
    ended = frugal.select([*pool[:20], *strange], pool[20:], 15, rng)
    assert len(filled.indices) == 15
    assert 0 < len(ended.indices) < 15
    assert ended.indices == filled.indices[: len(ended.indices)]


def test_random_selector(pool, rng):
    selector = RandomSelector.for_elements(["Cu"], SETTINGS)
    first = selector.select(pool, [], 5, np.random.default_rng(1))
    assert first == selector.select(pool, [], 5, np.random.default_rng(1))
    assert first.indices != selector.select(pool, [], 5, np.random.default_rng(2)).indices
    assert selector.select([twin(pool[0])], pool[:1], 5, rng).indices == ()


def test_a_large_pool_takes_seconds(emt, rng):
    selector = MaxVolSelector.for_elements(["Cu"], TrainerSettings(functions_per_element=300))
    base = emt.rattled(["Cu"], 10, seed=5)
    pool = []
    for n in range(300):
        atoms = base[n % 10].copy()
        atoms.calc = None
        atoms.rattle(0.05, seed=n)
        pool.append(atoms)
    started = time.process_time()
    assert len(selector.select(pool, [], 20, rng).indices) == 20
    assert time.process_time() - started < 20.0
