"""Frames of trajectories with a model, and how two models disagree on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import closest_contact
from pyacemaker.generator.foundation import (
    HOTTER,
    disagreement,
    foundation_frames,
    most_disputed,
)
from pyacemaker.generator.local import LOCAL_CONTACT
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import group_of, provenance_of


def frames_at(*temperatures: float, seed: int = 1, **options: Any) -> list[Atoms]:
    chosen = {"md_ps": 0.1, "frames": 4, "timestep_fs": 5.0, "model": "emt"} | options
    return foundation_frames(
        bulk("Cu"), EMT(), temperatures, 8, np.random.default_rng(seed), **chosen
    )


def test_frames_are_hot_copper_each_trajectory_a_group() -> None:
    made = frames_at(300, 900)
    atoms_in = len(supercell(bulk("Cu"), 8))
    groups = [group_of(atoms) for atoms in made]
    assert groups == [f"foundation-{t:.0f}K" for t in (300, 900, 900 * HOTTER) for _ in range(4)]
    for atoms in made:
        assert provenance_of(atoms)["generator"] == "foundation"
        assert provenance_of(atoms)["model"] == "emt"
        assert len(atoms) == atoms_in
        assert atoms.calc is None
        assert not atoms.has("momenta")
        assert closest_contact(atoms) >= LOCAL_CONTACT
    # Hotter copper is further from the lattice: forces grow with the temperature.
    force = []
    for atoms in made:
        atoms.calc = EMT()
        force.append(np.sqrt(np.mean(atoms.get_forces() ** 2)))
    assert np.mean(force[:4]) < np.mean(force[-4:])


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again, other = frames_at(600), frames_at(600), frames_at(600, seed=2)
    assert all(a == b for a, b in zip(first, again, strict=True))
    assert not any(a == b for a, b in zip(first, other, strict=True))


def test_a_trajectory_that_comes_apart_ends_early() -> None:
    made = frames_at(60_000, md_ps=0.3)
    assert len(made) < 8
    assert all(closest_contact(atoms) >= LOCAL_CONTACT for atoms in made)


class Broken(EMT):  # type: ignore[misc]
    def get_property(self, name: str, *arguments: Any, **options: Any) -> Any:
        found = super().get_property(name, *arguments, **options)
        return found * np.nan if name == "forces" else found


def test_a_model_without_forces_is_refused() -> None:
    with pytest.raises(GeneratorError, match="not finite"):
        foundation_frames(bulk("Cu"), Broken(), [300], 4, np.random.default_rng(0))


class Pushed(EMT):  # type: ignore[misc]
    """EMT with a known force more on the first atom (eV/angstrom)."""

    def get_property(self, name: str, *arguments: Any, **options: Any) -> Any:
        found = super().get_property(name, *arguments, **options)
        if name == "forces":
            found = found.copy()
            found[0] += (0.3, 0.0, 0.4)
        return found


def test_disagreement_is_the_largest_difference_of_a_force() -> None:
    made = frames_at(600)[:3]
    assert disagreement(made, EMT(), EMT()) == pytest.approx([0.0] * len(made), abs=1e-12)
    assert disagreement(made, EMT(), Pushed()) == pytest.approx([0.5] * len(made))
    # Silicon is unknown to EMT: whatever it raises, the frame is news.
    assert disagreement([bulk("Si")], EMT(), EMT()) == [float("inf")]


def test_the_most_disputed_are_kept_in_their_order() -> None:
    made = frames_at(600)
    kept = most_disputed(made[:4], [0.1, float("inf"), 0.2, 0.3])
    assert kept == [made[1], made[3]]
    assert [provenance_of(a)["disagreement_eV_per_A"] for a in kept] == [None, 0.3]
    assert most_disputed([], []) == []
    assert most_disputed(made[:1], [0.0]) == made[:1]
