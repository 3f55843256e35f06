"""Random crystals have symmetry, the composition asked for, room, and one seed's result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import ORDINARY_CONTACT, closest_contact, volume_per_atom
from pyacemaker.generator.random_crystal import LOOSEST, VOLUME_FACTORS, random_crystals
from pyacemaker.generator.volumes import mixed_volume
from pyacemaker.provenance import group_of, provenance_of


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from([{"Si": 4}, {"Ti": 1, "O": 2}, {"Na": 2, "Cl": 2}, {"H": 4}, {"Ar": 3}]),
    st.integers(0, 1000),
)
def test_composition_contacts_volume_and_symmetry(composition, seed):
    made = random_crystals(composition, 3, np.random.default_rng(seed))
    expected = mixed_volume(composition)
    fractions = {s: n / sum(composition.values()) for s, n in composition.items()}
    for atoms in made:
        counts = atoms.symbols.formula.count()
        assert {s: n / len(atoms) for s, n in counts.items()} == pytest.approx(fractions)
        assert len(atoms) <= sum(composition.values())
        assert closest_contact(atoms) >= ORDINARY_CONTACT
        assert VOLUME_FACTORS[0] * 0.999 < volume_per_atom(atoms) / expected < LOOSEST * 1.001
        assert np.linalg.det(atoms.cell.array) > 0
        assert int(provenance_of(atoms)["spacegroup"].split("(")[1].strip(")")) >= 2
    assert len({group_of(a) for a in made}) == len(made)


def test_most_attempts_succeed_and_groups_vary():
    made = random_crystals({"Si": 6}, 10, np.random.default_rng(0))
    assert len(made) == 10
    assert len({provenance_of(a)["spacegroup"] for a in made}) >= 6


def test_the_same_seed_gives_the_same_bits_whatever_numpy_was_seeded_with():
    first = random_crystals({"Si": 6}, 4, np.random.default_rng(5))
    np.random.seed(99)  # noqa: NPY002
    np.random.random(7)  # noqa: NPY002
    again = random_crystals({"Si": 6}, 4, np.random.default_rng(5))
    assert [a.positions.tobytes() for a in first] == [a.positions.tobytes() for a in again]
    assert [a.cell.array.tobytes() for a in first] == [a.cell.array.tobytes() for a in again]


def test_attempts_are_bounded_and_bad_compositions_refused():
    assert random_crystals({"Si": 4}, 5, np.random.default_rng(0), max_attempts=0) is not None
    assert len(random_crystals({"Si": 4}, 50, np.random.default_rng(0), max_attempts=2)) <= 2
    with pytest.raises(GeneratorError, match="at least one atom"):
        random_crystals({"Si": 0}, 1, np.random.default_rng(0))
    with pytest.raises(GeneratorError, match="at most"):
        random_crystals({"Si": 400}, 1, np.random.default_rng(0))
