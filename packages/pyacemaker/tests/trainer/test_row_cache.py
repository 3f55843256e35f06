from __future__ import annotations

import numpy as np
from ase.build import bulk

from pyacemaker.trainer import row_cache
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings

SETTINGS = TrainerSettings(functions_per_element=30)


def same(first, second):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(first, second, strict=True)
        for name in ("energy", "forces", "virial")
    )


def test_only_what_is_new_is_computed_and_the_bits_are_the_same(emt):
    structures = emt.rattled(["Cu"], 6, seed=1)
    cache = RowCache()
    cache.rows(["Cu"], SETTINGS, structures[:4])
    assert cache.computed == 4
    _, extended = cache.rows(["Cu"], SETTINGS, structures)
    assert cache.computed == 2
    _, anew = RowCache().rows(["Cu"], SETTINGS, structures)
    assert same(extended, anew)


def test_another_structure_or_basis_is_not_taken_for_a_known_one(emt):
    (atoms,) = emt.rattled(["Cu"], 1, seed=1)
    cache = RowCache()
    _, (before,) = cache.rows(["Cu"], SETTINGS, [atoms])
    moved = atoms.copy()
    moved.positions[0, 0] += 1e-9
    _, (after,) = cache.rows(["Cu"], SETTINGS, [moved])
    assert cache.computed == 1
    assert not np.array_equal(before.forces, after.forces)
    cache.rows(["Cu"], SETTINGS.model_copy(update={"functions_per_element": 20}), [moved])
    assert cache.computed == 1


def test_processes_give_the_same_bits(emt, monkeypatch):
    structures = emt.rattled(["Cu"], 6, seed=1)
    monkeypatch.setattr(row_cache, "_WORTH_PROCESSES", 0)
    _, parallel = RowCache(workers=2).rows(["Cu"], SETTINGS, structures)
    _, serial = RowCache().rows(["Cu"], SETTINGS, structures)
    assert same(parallel, serial)


def test_an_embedded_cell_is_another_structure_than_the_same_cell_whole() -> None:
    whole = bulk("Cu", cubic=True)
    whole.rattle(0.05, seed=1)
    cut = whole.copy()
    cut.set_array("core_weight", np.array([1.0, 0.0, 0.0, 0.0]))
    cache = RowCache()
    settings = TrainerSettings(functions_per_element=12, cutoff_A=4.0)
    _, (of_whole, of_cut) = cache.rows(["Cu"], settings, [whole, cut])
    assert cache.computed == 2
    assert (len(of_whole.projections["Cu"]), len(of_cut.projections["Cu"])) == (4, 1)
    assert of_whole.virial is not None
    assert of_cut.virial is None


def test_rows_on_disk_outlive_the_program_and_are_the_same_bits(emt, tmp_path):
    structures = emt.rattled(["Cu"], 4, seed=1)
    RowCache(folder=tmp_path).rows(["Cu"], SETTINGS, structures[:3])
    later = RowCache(folder=tmp_path)
    _, read = later.rows(["Cu"], SETTINGS, structures)
    assert later.computed == 1
    _, anew = RowCache().rows(["Cu"], SETTINGS, structures)
    assert same(read, anew)
    assert all(
        np.array_equal(a.projections["Cu"], b.projections["Cu"])
        for a, b in zip(read, anew, strict=True)
    )


def test_weights_share_rows_and_another_basis_has_its_own(emt, tmp_path):
    structures = emt.rattled(["Cu"], 2, seed=1)
    cache = RowCache(folder=tmp_path)
    cache.rows(["Cu"], SETTINGS, structures)
    cache.rows(["Cu"], SETTINGS.model_copy(update={"energy_weight": 7.0}), structures)
    assert cache.computed == 0
    other = RowCache(folder=tmp_path)
    other.rows(["Cu"], SETTINGS.model_copy(update={"functions_per_element": 20}), structures)
    assert other.computed == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_broken_file_is_computed_anew(emt, tmp_path):
    structures = emt.rattled(["Cu"], 3, seed=1)
    _, before = RowCache(folder=tmp_path).rows(["Cu"], SETTINGS, structures)
    first, second, third = sorted(tmp_path.rglob("*.npz"))
    first.write_bytes(first.read_bytes()[:1000])
    second.write_bytes(b"")
    np.savez(third, energy=np.zeros(1), forces=np.zeros(1), projections_Cu=np.zeros(1))
    cache = RowCache(folder=tmp_path)
    _, after = cache.rows(["Cu"], SETTINGS, structures)
    assert cache.computed == 3
    assert same(before, after)
