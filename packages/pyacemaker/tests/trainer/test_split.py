from __future__ import annotations

from collections import Counter

import pytest
from ase import Atoms

from pyacemaker.provenance import group_of, tag
from pyacemaker.trainer.split import split_by_group


def made(groups: int, per_group: int = 3, generator: str = "md", start: int = 0) -> list[Atoms]:
    return [
        tag(Atoms("Cu"), generator, f"{generator}-{g}", frame=f)
        for g in range(start, start + groups)
        for f in range(per_group)
    ]


def test_groups_never_straddle_and_nothing_is_lost():
    structures = made(200)
    sides = split_by_group(structures, seed=7)
    groups = [{group_of(a) for a in side} for side in sides]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert sorted(map(id, structures)) == sorted(id(a) for side in sides for a in side)
    assert 0.72 < len(groups[0]) / 200 < 0.88
    assert all(len(g) > 5 for g in groups)


def test_what_was_tested_is_never_trained_later():
    early = made(30)
    train_early, _, test_early = split_by_group(early, seed=1)
    train, validation, test = split_by_group([*made(60, start=30), *early], seed=1)
    assert {id(a) for a in test_early} <= {id(a) for a in test}
    assert {id(a) for a in train_early} <= {id(a) for a in train}
    assert validation


def test_seed_deals_anew_and_the_same_seed_the_same():
    structures = made(50)
    names = [
        tuple(sorted({group_of(a) for a in split_by_group(structures, seed=s)[2]}))
        for s in (1, 1, 2)
    ]
    assert names[0] == names[1] != names[2]


def test_pinned_generators_always_train():
    structures = [*made(40), *made(40, generator="dimer")]
    train, validation, test = split_by_group(structures, pinned=("dimer",))
    kinds = [
        Counter(a.info["provenance"]["generator"] for a in s) for s in (train, validation, test)
    ]
    assert kinds[0]["dimer"] == 120 and kinds[1]["dimer"] == kinds[2]["dimer"] == 0
    assert kinds[2]["md"] > 0


@pytest.mark.parametrize(
    ("fractions", "empty"),
    [((1.0, 0.0, 0.0), (1, 2)), ((0.0, 0.0, 1.0), (0, 1)), ((0.5, 0.5, 0.0), (2,))],
)
def test_zero_fractions_stay_empty(fractions, empty):
    sides = split_by_group(made(100), fractions)
    assert all(not sides[n] for n in empty)


def test_refusals():
    with pytest.raises(ValueError, match="fractions must be three"):
        split_by_group([], (0.9, 0.2, -0.1))
    with pytest.raises(ValueError, match="structure 1 has no provenance"):
        split_by_group([*made(1, 1), Atoms("Cu")])
    assert split_by_group([]) == ([], [], [])
