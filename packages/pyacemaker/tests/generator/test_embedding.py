"""Small cells cut from large boxes, with EMT as the judge of forces."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from pyacemaker.core_weight import CORE_WEIGHT, core_weights
from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import closest_contact
from pyacemaker.generator.embedding import embed, embed_within, uncertain_atom
from pyacemaker.generator.local import local_candidates
from pyacemaker.provenance import provenance_of


def forces_of(atoms: Atoms) -> np.ndarray:
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_forces()


def error(box: Atoms, centre: int, buffer_A: float) -> tuple[float, int]:
    found = embed(box, centre, buffer_A=buffer_A)
    core = core_weights(found.atoms) > 0
    off = forces_of(found.atoms) - forces_of(box)[found.origin]
    return float(np.abs(off[core]).max()), len(found.atoms)


@pytest.fixture(scope="module")
def vacancy() -> Atoms:
    box = bulk("Al", cubic=True) * (6, 6, 6)
    box.rattle(0.08, rng=np.random.default_rng(2))
    del box[300]
    return box


def test_a_perfect_crystal_has_no_seam() -> None:
    box = bulk("Cu") * (9, 9, 9)
    found = embed(box, 17, buffer_A=1.0)
    assert found.misfit_A < 1e-6
    assert found.removed == 0
    assert np.abs(forces_of(found.atoms)).max() < 1e-5
    volume = found.atoms.get_volume() / len(found.atoms)
    assert volume == pytest.approx(box.get_volume() / len(box))


def test_forces_on_the_core_come_to_those_of_the_box(vacancy: Atoms) -> None:
    errors = [error(vacancy, 300, buffer) for buffer in (1.0, 4.0, 6.0)]
    assert errors[0][1] < errors[1][1] < errors[2][1] < len(vacancy)
    assert errors[1][0] < 1e-2
    assert errors[2][0] < 1e-3
    assert errors[0][0] > errors[2][0]


def test_a_surface_keeps_its_vacuum() -> None:
    slab = fcc111("Al", (8, 8, 8), vacuum=8.0, orthogonal=True)
    slab.pbc = True
    slab.rattle(0.08, rng=np.random.default_rng(1))
    top = int(slab.positions[:, 2].argmax())
    found = embed(slab, top, buffer_A=5.0)
    assert len(found.atoms) < len(slab) / 2
    heights = np.sort(found.atoms.get_scaled_positions()[:, 2])
    gap = np.diff(np.append(heights, heights[0] + 1)).max() * found.atoms.cell.lengths()[2]
    assert gap > 9.0
    assert error(slab, top, 5.0)[0] < 0.02


def test_the_core_is_the_atom_and_its_neighbours_under_any_origin(vacancy: Atoms) -> None:
    found = embed(vacancy, 10, buffer_A=3.0)
    shifted = vacancy.copy()
    shifted.positions += (3.3, 7.7, 1.1)
    shifted.wrap()
    again = embed(shifted, 10, buffer_A=3.0)
    assert found.origin[0] == 10
    assert len(again.atoms) == len(found.atoms)
    core = {int(i) for i in found.origin[core_weights(found.atoms) > 0]}
    near = np.flatnonzero(vacancy.get_distances(10, range(len(vacancy)), mic=True) <= 3.0)
    assert core == set(near.tolist())
    assert np.abs(error(shifted, 10, 3.0)[0] - error(vacancy, 10, 3.0)[0]) < 1e-9


def test_a_liquid_has_no_overlaps_across_its_seams() -> None:
    box = bulk("Cu", cubic=True) * (5, 5, 5)
    box.rattle(0.45, rng=np.random.default_rng(5))
    found = embed(box, 3, buffer_A=3.0)
    assert found.misfit_A > 0.3
    assert closest_contact(found.atoms) > min(0.69, closest_contact(box) * 0.999)
    assert found.atoms.arrays[CORE_WEIGHT][0] == 1


def test_the_thickest_buffer_that_fits_is_taken(vacancy: Atoms) -> None:
    small, large = (embed_within(vacancy, 10, most) for most in (40, 300))
    assert small is not None
    assert large is not None
    assert len(small.atoms) <= 40 < len(large.atoms) <= 300
    assert small.buffer_A < large.buffer_A
    assert embed_within(vacancy, 10, 5) is None


def test_a_box_no_larger_than_the_cut_stays_whole() -> None:
    box = bulk("Cu", cubic=True) * (2, 2, 2)
    found = embed(box, 0, buffer_A=5.0)
    assert len(found.atoms) == len(box)
    np.testing.assert_allclose(found.atoms.cell.array, box.cell.array)


def test_nonsense_is_refused() -> None:
    box = bulk("Cu", cubic=True)
    for wrong in ({"centre": 9, "buffer_A": 1.0}, {"centre": 0, "buffer_A": -1.0}):
        with pytest.raises(GeneratorError):
            embed(box, **wrong)  # type: ignore[arg-type]
    with pytest.raises(GeneratorError, match="no array gamma"):
        uncertain_atom(box)
    with pytest.raises(GeneratorError, match="lattice vectors"):
        embed(Atoms("Cu"), 0, buffer_A=1.0)


def test_candidates_round_a_large_frame_are_small_and_weighted(vacancy: Atoms) -> None:
    frame = vacancy.copy()
    gamma = np.full(len(frame), 0.5)
    gamma[123] = 12.0
    frame.arrays["gamma"] = gamma
    rng = np.random.default_rng(0)
    result = local_candidates(frame, "halt", rng, count=6, embed_above=40)
    assert len(result.candidates) == 6
    assert "cut out" in result.remarks[0]
    for atoms in result.candidates:
        assert len(atoms) <= 40
        assert 1 <= core_weights(atoms).sum() < len(atoms)
        assert provenance_of(atoms)["embedded_from"] == len(frame)
        assert provenance_of(atoms)["gamma_max"] == 12.0
    del frame.arrays["gamma"]
    none = local_candidates(frame, "halt", rng, count=6, embed_above=40)
    assert not none.candidates
    assert "gamma" in none.remarks[0]
