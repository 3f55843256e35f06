from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.core_weight import CORE_WEIGHT
from pyacemaker.potential import Potential
from pyacemaker.selection.committee import CommitteeSelector
from pyacemaker.selection.maxvol import MaxVolSelector
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings

SETTINGS = TrainerSettings(functions_per_element=40, cutoff_A=5.0)


@pytest.fixture(scope="module")
def selector() -> CommitteeSelector:
    return CommitteeSelector(["Cu"], SETTINGS)


@pytest.fixture(scope="module")
def labelled(emt):
    return emt.rattled(["Cu"], 16, seed=11, rattle_A=0.05, strain=0.02, per_group=2)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_what_lies_far_from_the_labels_is_disputed_most(selector, emt, labelled, rng):
    near = emt.rattled(["Cu"], 6, seed=12, rattle_A=0.04, strain=0.01)
    far = emt.rattled(["Cu"], 3, seed=13, rattle_A=0.25, strain=0.06)
    chosen = selector.select([*near, *far], labelled, 3, rng)
    assert set(chosen.indices) == {6, 7, 8}
    spreads = selector.spreads([*near, *far], labelled, np.random.default_rng(0))
    assert spreads[6:].min() > 2.0 * spreads[:6].max()
    assert list(chosen.indices) == sorted(chosen.indices, key=lambda n: -spreads[n])


def test_spread_follows_the_error_of_the_fit_itself(selector, emt, labelled, tmp_path, rng):
    """On real fits: where the committee disagrees, the potential is wrong."""
    alone = emt.reference_energies(["Cu"])
    fit = LinearTrainer(SETTINGS).fit(labelled, [], alone, tmp_path / "p", rng)
    calculator = Potential.load(fit.potential).calculator()
    pool = []
    for n, size in enumerate((0.02, 0.05, 0.1, 0.15, 0.2, 0.25)):
        pool += emt.rattled(["Cu"], 4, seed=20 + n, rattle_A=size, strain=0.02)
    errors = []
    for atoms in pool:
        probe = atoms.copy()
        probe.calc = calculator
        wrong = probe.get_forces() - atoms.get_forces()
        errors.append(np.linalg.norm(wrong, axis=1).max())
    spreads = selector.spreads(pool, labelled, rng)
    assert np.corrcoef(np.log(spreads), np.log(errors))[0, 1] > 0.8
    # Of the size of the error, not only in its order: within a factor of five in the median.
    assert 0.2 < np.median(spreads / np.array(errors)) < 5.0


def test_more_labels_narrow_the_spread(selector, emt, labelled):
    pool = emt.rattled(["Cu"], 6, seed=31, rattle_A=0.1)
    more = [*labelled, *emt.rattled(["Cu"], 40, seed=32, rattle_A=0.1, per_group=2)]
    few, many = (
        np.median(selector.spreads(pool, known, np.random.default_rng(0)))
        for known in (labelled, more)
    )
    assert many < 0.5 * few


def test_deterministic_by_its_generator(selector, emt, labelled):
    pool = emt.rattled(["Cu"], 12, seed=41, rattle_A=0.1)
    first, again, other = (
        selector.spreads(pool, labelled, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_zero_of_the_energy_does_not_matter(selector, emt, labelled):
    """An oracle whose atoms have -3000 eV each gives the same committee."""
    pool = emt.rattled(["Cu"], 4, seed=51)
    moved = [atoms.copy() for atoms in labelled]
    for atoms, before in zip(moved, labelled, strict=True):
        results = dict(before.calc.results)
        results["energy"] -= 3000.0 * len(atoms)
        atoms.calc = SinglePointCalculator(atoms, **results)
    spreads = [selector.spreads(pool, s, np.random.default_rng(3)) for s in (labelled, moved)]
    np.testing.assert_allclose(spreads[1], spreads[0], rtol=1e-6)


def test_without_enough_labels_d_optimality_chooses(selector, emt, labelled, rng):
    pool = emt.rattled(["Cu"], 20, seed=61)
    by_design = MaxVolSelector.for_elements(["Cu"], SETTINGS).select(pool, [], 5, rng)
    assert selector.select(pool, [], 5, rng) == by_design
    unlabelled = [atoms.copy() for atoms in labelled]
    by_design = MaxVolSelector.for_elements(["Cu"], SETTINGS).select(pool, unlabelled, 5, rng)
    assert selector.select(pool, unlabelled, 5, rng) == by_design


def test_duplicates_are_never_chosen(selector, emt, labelled, rng):
    pool = emt.rattled(["Cu"], 4, seed=71)
    twins = [atoms * (1, 2, 1) for atoms in pool]
    chosen = selector.select([*pool, *twins, *labelled[:3]], labelled, 20, rng)
    assert sorted(n % 4 for n in chosen.indices) == [0, 1, 2, 3]
    assert max(chosen.indices) < 8
    assert selector.select(pool, labelled, 0, rng).indices == ()
    assert selector.select([], labelled, 5, rng).indices == ()


def test_only_the_core_of_an_embedded_cell_counts(selector, emt, labelled):
    (cell,) = emt.rattled(["Cu"], 1, seed=81, rattle_A=0.02, strain=0.0)
    cell = cell * (2, 2, 1)
    cell.positions[0] += 0.4
    distances = cell.get_distances(0, range(len(cell)), mic=True)
    buffered = cell.copy()
    buffered.set_array(CORE_WEIGHT, (distances > distances.max() - 0.1).astype(float))
    whole, core = selector.spreads([cell, buffered], labelled, np.random.default_rng(0))
    assert core < 0.2 * whole


def test_rows_are_shared_with_the_fit(emt, labelled, tmp_path: Path, rng):
    alone = emt.reference_energies(["Cu"])
    LinearTrainer(SETTINGS, cache=tmp_path / "rows").fit(labelled, [], alone, tmp_path / "p", rng)
    selector = CommitteeSelector(["Cu"], SETTINGS, cache=tmp_path / "rows")
    selector.spreads(labelled[:2], labelled, rng)
    assert selector._cache.computed == 0


def test_alloys(emt, rng):
    labelled = emt.rattled(["Cu", "Au"], 24, seed=91, per_group=2)
    selector = CommitteeSelector(["Cu", "Au"], SETTINGS)
    pool = emt.rattled(["Cu", "Au"], 6, seed=92, rattle_A=0.05)
    pool += emt.rattled(["Cu", "Au"], 2, seed=93, rattle_A=0.3)
    assert set(selector.select(pool, labelled, 2, rng).indices) == {6, 7}
