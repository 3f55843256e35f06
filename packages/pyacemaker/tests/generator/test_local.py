"""Candidates round a halted frame."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import closest_contact
from pyacemaker.generator.local import LOCAL_CONTACT, local_candidates
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import group_of, provenance_of


@pytest.fixture(scope="module")
def hot_copper():
    atoms = supercell(bulk("Cu"), 32)
    atoms.calc = EMT()
    rng = np.random.default_rng(3)
    MaxwellBoltzmannDistribution(atoms, temperature_K=1500, rng=rng)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=1200, friction=0.02, rng=rng)
    dynamics.run(150)
    gamma = np.full(32, 0.5)
    gamma[5] = 9.0
    atoms.arrays["gamma"] = gamma
    return atoms


def test_all_candidates_are_near_the_frame_and_of_its_group(hot_copper):
    result = local_candidates(hot_copper, "halt-3", np.random.default_rng(0), count=20)
    made = result.candidates
    assert len(made) == 20
    assert {group_of(a) for a in made} == {"halt-3"}
    assert np.array_equal(made[0].positions, hot_copper.positions)
    assert len({a.positions.tobytes() for a in made}) == 20
    for atoms in made:
        strain = provenance_of(atoms)["strain"]
        deformation = np.eye(3) + (0 if strain is None else np.array(strain))
        assert atoms.cell.array == pytest.approx(hot_copper.cell.array @ deformation)
        shift = atoms.positions - hot_copper.positions @ deformation
        assert np.abs(shift).max() < 6 * 0.15
        assert closest_contact(atoms) >= LOCAL_CONTACT * 0.999
        assert atoms.calc is None
        assert "momenta" not in atoms.arrays
        assert provenance_of(atoms)["gamma_max"] == 9.0
        json.dumps(provenance_of(atoms))


def test_atoms_with_high_gamma_move_most(hot_copper):
    made = local_candidates(hot_copper, "h", np.random.default_rng(1), count=200).candidates
    plain = [a for a in made[1:] if provenance_of(a)["strain"] is None]
    moved = np.sqrt(
        np.mean([(a.positions - hot_copper.positions) ** 2 for a in plain], axis=(0, 2))
    )
    assert moved.argmax() == 5
    others = np.delete(moved, 5).mean()
    expected = (0.3 + 0.7 * 0.5 / 9) / 1.0
    assert others / moved[5] == pytest.approx(expected, rel=0.2)


def test_overlapping_frames_are_backed_off_with_a_remark():
    frame = supercell(bulk("Si"), 8)
    i, j = 0, int(np.argsort(frame.get_distances(0, range(8), mic=True))[1])
    frame.set_distance(i, j, 1.15, mic=True)
    assert closest_contact(frame) < LOCAL_CONTACT
    result = local_candidates(frame, "halt", np.random.default_rng(0), count=5)
    assert len(result.candidates) == 5
    assert "backed off" in result.remarks[0]
    assert all(closest_contact(a) >= LOCAL_CONTACT * 0.999 for a in result.candidates)
    assert provenance_of(result.candidates[0])["backed_off"] is True


def blown_up(kind):
    frame = supercell(bulk("Si"), 8)
    if kind == "not finite":
        frame.positions[3] = np.nan
    elif kind == "lie on each other":
        frame.positions[3] = frame.positions[2]
    elif kind == "below 0.4":
        frame.positions[3] = frame.positions[2] + [0.6, 0, 0]
    elif kind == "collapsed":
        frame.set_cell(frame.cell * 0.2, scale_atoms=True)
    elif kind == "no atoms":
        return Atoms(cell=[5, 5, 5], pbc=True)
    return frame


@pytest.mark.parametrize(
    "kind", ["not finite", "lie on each other", "below 0.4", "collapsed", "no atoms"]
)
def test_frames_that_blew_up_give_nothing_but_the_reason(kind):
    result = local_candidates(blown_up(kind), "halt", np.random.default_rng(0))
    assert result.candidates == ()
    assert kind in result.remarks[0]


def test_size_limit_and_bad_requests():
    frame = supercell(bulk("Si"), 8)
    result = local_candidates(frame, "halt", np.random.default_rng(0), max_atoms=4)
    assert "more than max_atoms = 4" in result.remarks[0]
    with pytest.raises(GeneratorError, match="count"):
        local_candidates(frame, "halt", np.random.default_rng(0), count=0)
    with pytest.raises(GeneratorError, match="group"):
        local_candidates(frame, "", np.random.default_rng(0))


@pytest.mark.parametrize("gamma", [None, np.zeros(8), np.full(8, np.nan)])
def test_without_a_usable_gamma_all_atoms_move(gamma):
    frame = supercell(bulk("Si"), 8)
    if gamma is not None:
        frame.arrays["gamma"] = gamma
    made = local_candidates(frame, "halt", np.random.default_rng(0), count=4).candidates
    assert len(made) == 4
    assert np.all(np.linalg.norm(made[1].positions - frame.positions, axis=1) > 0)


def test_the_same_generator_gives_the_same_candidates():
    frame = supercell(bulk("Si"), 8)
    first, again = (
        local_candidates(frame, "halt-1", np.random.default_rng(4), count=6).candidates
        for _ in range(2)
    )
    assert [a.positions.tobytes() for a in first] == [a.positions.tobytes() for a in again]


def test_a_cluster_without_a_cell_is_only_displaced():
    cluster = Atoms("Si2", [(0, 0, 0), (0, 0, 2.3)])
    made = local_candidates(cluster, "halt", np.random.default_rng(0), count=5).candidates
    assert len(made) == 5
    assert all(provenance_of(a)["strain"] is None for a in made)
