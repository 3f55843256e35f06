from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from pyace.activelearning import compute_A_active_inverse, compute_active_set
from pyace.basis import ACEBBasisSet

from pyacemaker.trainer.active_set import (
    TOLERANCE,
    active_set_of,
    active_sets_of_structures,
    orders_of,
    stacked,
)
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.settings import TrainerSettings


@pytest.fixture(scope="module")
def basis() -> ACEBBasisSet:
    return ACEBBasisSet(basis_configuration(["Cu"], TrainerSettings(functions_per_element=60)))


def grades(basis, active, structures):
    projector = Projector(basis)
    rows = stacked(projector, (projector.projections(a) for a in structures))
    return active["Cu"].gamma(rows["Cu"])


@pytest.mark.parametrize("count", [1, 4, 40])
def test_gamma_is_one_inside_and_large_outside_from_the_first_structures_on(basis, emt, count):
    train = emt.rattled(["Cu"], count, seed=1)
    active = active_sets_of_structures(basis, train)
    assert grades(basis, active, train).max() <= TOLERANCE + 1e-9
    for strange in (bulk("Cu", a=2.9), bulk("Cu", a=4.4), bulk("Cu", "sc", a=2.3)):
        assert grades(basis, active, [strange]).min() > 10.0
    assert active["Cu"].supported <= min(60, 8 * count)


def test_more_of_the_same_is_inside_and_hotter_is_further_out(basis, emt):
    active = active_sets_of_structures(basis, emt.rattled(["Cu"], 40, seed=1))
    same, hot, hotter = (
        grades(basis, active, emt.rattled(["Cu"], 6, seed=2, rattle_A=r)).max()
        for r in (0.08, 0.2, 0.35)
    )
    assert same < 4.0
    assert same < hot < hotter
    assert hotter > 10.0


def test_a_pseudo_inverse_would_have_been_silent(basis, emt):
    """The trap: gamma = 0 for a direction no environment has."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(10, 60))
    orders = np.ones(60, dtype=int)
    unseen = rng.normal(size=60)
    unseen -= np.linalg.pinv(rows) @ (rows @ unseen)
    assert np.abs(unseen @ np.linalg.pinv(rows)).max() < 1e-10
    assert active_set_of(rows, orders).gamma(unseen[None])[0] > 10.0


def test_agrees_with_pyace_where_data_are_plenty():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2000, 30))
    theirs = compute_A_active_inverse(compute_active_set({0: rows.copy()}, tol=TOLERANCE))
    ours = active_set_of(rows, np.ones(30, dtype=int))
    assert ours.supported == 30
    fresh = rng.normal(size=(50, 30)) * 3
    grade = np.abs(fresh @ theirs[0]).max(axis=1)
    # Two maximal volumes need not be the same rows; the grades they give are alike.
    assert 0.5 < np.median(ours.gamma(fresh) / grade) < 2.0


def test_element_never_seen_is_always_outside(emt):
    basis = ACEBBasisSet(
        basis_configuration(["Cu", "Au"], TrainerSettings(functions_per_element=40))
    )
    active = active_sets_of_structures(basis, emt.rattled(["Cu"], 6, seed=1))
    projector = Projector(basis)
    gold = projector.projections(bulk("Au"))["Au"]
    mixed = projector.projections(emt.rattled(["Cu", "Au"], 1, seed=3)[0])
    assert active["Au"].supported == 0
    assert active["Au"].gamma(gold).min() > 1.0
    assert active["Cu"].gamma(mixed["Cu"]).max() > 10.0


def test_orders_and_refusal(basis):
    orders = orders_of(basis)["Cu"]
    assert len(orders) == 60 and orders.min() == 1 and orders.max() == 4
    with pytest.raises(TrainerError, match="not finite"):
        active_set_of(np.full((3, 60), np.nan), orders)
    assert active_set_of(np.zeros((0, 60)), orders).gamma(np.zeros((0, 60))).shape == (0,)
