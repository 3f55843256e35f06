"""The first cycle's structures: mix, soundness, groups, determinism, speed."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.cold_start import cold_start
from pyacemaker.generator.contact import ORDINARY_CONTACT, SHORT_CONTACT, closest_contact
from pyacemaker.generator.prototypes import EOS_FACTORS
from pyacemaker.provenance import group_of, provenance_of


def digest(structures):
    seen = hashlib.sha256()
    for atoms in structures:
        seen.update(atoms.numbers.tobytes() + atoms.positions.tobytes())
        seen.update(atoms.cell.array.tobytes() + atoms.pbc.tobytes())
        seen.update(json.dumps(atoms.info["provenance"], sort_keys=True).encode())
    return seen.hexdigest()


@pytest.fixture(scope="module")
def silicon():
    return cold_start(["Si"], bulk("Si"), 8, np.random.default_rng(1))


def test_the_mix_for_silicon(silicon):
    kinds = Counter(provenance_of(a)["generator"] for a in silicon)
    assert 60 <= len(silicon) <= 150
    assert kinds["eos"] == len(EOS_FACTORS)
    assert kinds["distorted"] == max(kinds.values())
    assert kinds["distorted"] + kinds["eos"] + kinds["elastic"] >= 0.45 * len(silicon)
    for needed in ("prototype", "random_crystal", "dimer", "pressed_pair", "vacancy", "surface"):
        assert kinds[needed] > 0, needed
    sizes = Counter(len(a) for a in silicon)
    assert sizes[2] > 20, "cheap primitive cells"
    assert sizes[8] > 20


def test_the_equation_of_state_holds_the_reference_itself(silicon):
    eos = [a for a in silicon if provenance_of(a)["generator"] == "eos"]
    assert [a.get_volume() / bulk("Si").get_volume() for a in eos] == pytest.approx(EOS_FACTORS)
    assert any(np.allclose(a.cell.array, bulk("Si").cell.array) for a in eos)


def test_groups_keep_smooth_paths_together_and_leave_enough_to_split(silicon):
    groups = Counter(group_of(a) for a in silicon)
    assert len(groups) > 50
    assert max(groups.values()) < 0.25 * len(silicon)
    smooth = {group_of(a) for a in silicon if provenance_of(a)["generator"] in ("eos", "elastic")}
    assert len(smooth) == 1
    for generator in ("dimer", "pressed_pair"):
        assert (
            len({group_of(a) for a in silicon if provenance_of(a)["generator"] == generator}) == 1
        )


def test_no_structure_occurs_twice(silicon):
    assert len({(a.positions.tobytes(), a.cell.array.tobytes()) for a in silicon}) == len(silicon)


def test_dft_boxes_stay_small(silicon):
    assert max(a.get_volume() for a in silicon) <= 900
    cheap = cold_start(["Si"], bulk("Si"), 8, np.random.default_rng(1), box_cost_limit_A3=300)
    vacuum = [a for a in cheap if provenance_of(a)["generator"] in ("dimer", "surface")]
    assert vacuum
    assert max(a.get_volume() for a in cheap) <= 300


def assert_sound(structures, elements, max_atoms):
    met = set()
    for atoms in structures:
        found = provenance_of(atoms)
        json.dumps(found, allow_nan=False)
        assert len(atoms) <= max_atoms
        assert atoms.pbc.all()
        assert np.linalg.det(atoms.cell.array) > 0
        assert np.isfinite(atoms.positions).all()
        assert atoms.calc is None
        met |= set(atoms.get_chemical_symbols())
        contact = closest_contact(atoms)
        short = found["generator"] in ("dimer", "pressed_pair")
        assert contact >= (SHORT_CONTACT * 0.98 if short else ORDINARY_CONTACT * 0.95), found
    assert met == set(elements)


ANY = ["H", "He", "Ne", "Ar", "Li", "C", "O", "F", "Na", "Al", "Si", "Cl", "Ti", "Fe", "Cu", "Ga",
       "Mn", "S", "At", "Pm", "Fr", "U"]  # fmt: skip


@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.sampled_from(ANY), min_size=1, max_size=2, unique=True),
    st.integers(4, 12),
    st.integers(0, 100),
)
@example(["Ti", "O"], 8, 0)
@example(["Al", "Cu"], 8, 0)
@example(["Na", "Cl"], 8, 0)
@example(["Fe"], 8, 0)
@example(["He"], 4, 0)
@example(["H", "O"], 6, 0)
@example(["Cu"], 1, 0)
def test_any_elements_and_sizes_give_sound_structures(elements, max_atoms, seed):
    made = cold_start(elements, None, max_atoms, np.random.default_rng(seed), count=25)
    assert len(made) >= 20
    assert_sound(made, elements, max_atoms)


@pytest.mark.parametrize("elements", [["Li", "Co", "O"], ["Al", "Cu", "Ni", "Ti"]])
def test_three_and_four_elements(elements):
    made = cold_start(elements, None, 12, np.random.default_rng(0), count=60)
    assert_sound(made, elements, 12)
    assert len(made) <= 150


def test_the_same_seed_gives_the_same_bits_in_other_processes():
    script = (
        "import numpy as np, sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_cold_start import digest, cold_start\n"
        "print(digest(cold_start(['Ti', 'O'], None, 8, np.random.default_rng(3), count=40)))"
    )
    here = digest(cold_start(["Ti", "O"], None, 8, np.random.default_rng(3), count=40))
    for seed in ("0", "12345"):
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, os.path.dirname(__file__)],  # noqa: PTH120
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert ran.stdout.split()[-1] == here


def test_what_ran_before_changes_nothing_and_other_seeds_do(silicon):
    np.random.seed(5)  # noqa: NPY002
    cold_start(["Cu"], None, 4, np.random.default_rng(0), count=20)
    again = cold_start(["Si"], bulk("Si"), 8, np.random.default_rng(1))
    assert digest(again) == digest(silicon)
    assert digest(cold_start(["Si"], bulk("Si"), 8, np.random.default_rng(2))) != digest(silicon)


def test_a_silicon_cold_start_is_quick(silicon):
    began = time.process_time()
    cold_start(["Si"], bulk("Si"), 8, np.random.default_rng(9))
    assert time.process_time() - began < 20


def test_the_users_reference_is_not_touched():
    mine = bulk("NaCl", "rocksalt", a=5.64)
    mine.info["mine"] = 1
    before = mine.copy()
    made = cold_start(["Na", "Cl"], mine, 8, np.random.default_rng(0), count=20)
    assert mine == before
    assert mine.info == {"mine": 1}
    assert all("mine" not in a.info for a in made)


def left_handed():
    atoms = bulk("Si")
    atoms.set_cell(atoms.cell.array[[1, 0, 2]], scale_atoms=False)
    return atoms


@pytest.mark.parametrize("reference", [left_handed(), bulk("Si", cubic=True)])
def test_references_of_other_shapes(reference):
    made = cold_start(["Si"], reference, 8, np.random.default_rng(0), count=25)
    assert_sound(made, ["Si"], 8)


@pytest.mark.parametrize(
    ("elements", "reference", "max_atoms", "says"),
    [
        (["Si"], bulk("Si", cubic=True), 4, "more than max_atoms = 4"),
        (["Si"], bulk("Cu"), 8, "not among the elements"),
        (["Si"], Atoms("Si", [(0, 0, 0)]), 8, "lattice vectors"),
        (["Si"], Atoms("Si2", [(0, 0, 0), (0, 0, 0.1)], cell=[5, 5, 5]), 8, "overlapping"),
        (["Ti", "O"], None, 1, "max_atoms is 1"),
    ],
)
def test_bad_requests_are_refused_in_one_line(elements, reference, max_atoms, says):
    with pytest.raises(GeneratorError, match=says) as caught:
        cold_start(elements, reference, max_atoms, np.random.default_rng(0))
    assert "\n" not in str(caught.value)
