"""Vacancies, interstitials, antisites and slabs."""

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.neighborlist import neighbor_list

from pyacemaker.generator.contact import ORDINARY_CONTACT, closest_contact
from pyacemaker.generator.defects import (
    antisites,
    inequivalent_sites,
    interstitials,
    surfaces,
    vacancies,
)
from pyacemaker.generator.prototypes import reference_structure
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import group_of, provenance_of

SI, CU = bulk("Si"), bulk("Cu")


def rng():
    return np.random.default_rng(7)


def test_a_vacancy_has_one_atom_less_than_the_perfect_cell():
    made = vacancies(SI, 64, rng(), per_site=3)
    assert [len(a) for a in made] == [63] * 3
    assert len({group_of(a) for a in made}) == 3
    assert vacancies(SI, 2, rng()) == [], "a vacancy needs a supercell"
    assert [len(a) for a in vacancies(SI, 8, rng())] == [7, 7]
    for atoms in made:  # a hole: some neighbours of the lost atom have three bonds
        bonds = np.bincount(neighbor_list("i", atoms, 2.8), minlength=63)
        assert (bonds == 3).sum() == 4


def test_every_inequivalent_site_of_a_compound_is_emptied():
    rutile = reference_structure(["Ti", "O"])
    assert len(inequivalent_sites(rutile)) == 2
    made = vacancies(rutile, 12, rng(), per_site=1)
    assert {provenance_of(a)["removed"] for a in made} == {"Ti", "O"}


def test_interstitials_sit_in_the_widest_void():
    made = interstitials(SI, 65, rng(), count=1, sigma_A=0.0)
    assert [len(a) for a in made] == [65]
    # the tetrahedral hole of diamond is as far from its neighbours as a bond
    distances = made[0].get_distances(64, list(range(64)), mic=True)
    assert np.sort(distances)[:4] == pytest.approx([2.351] * 4, rel=0.01)
    assert interstitials(SI, 8, rng()) == [] or all(
        len(a) <= 8 for a in interstitials(SI, 8, rng())
    )


def test_antisites_keep_the_composition():
    l1_0 = reference_structure(["Cu", "Au"])
    made = antisites(l1_0, 16, rng())
    host = supercell(l1_0, 16)
    assert made
    for atoms in made:
        assert atoms.symbols.formula.count() == host.symbols.formula.count()
        assert (atoms.numbers != host.numbers).sum() == 2
    assert antisites(SI, 8, rng()) == []


@pytest.mark.parametrize("vacuum", [8.0, 11.0])
@pytest.mark.parametrize("symbols", [["Si"], ["Cu"], ["Fe"], ["Ti"], ["Na", "Cl"], ["Ti", "O"]])
def test_slabs_have_vacuum_and_the_bulk_between(symbols, vacuum):
    reference = reference_structure(symbols)
    made = surfaces(reference, 24, rng(), vacuum_A=vacuum, sigma_A=0.0)
    assert made
    density = reference.get_volume() / len(reference)
    for atoms in made:
        heights = np.sort(atoms.positions[:, 2])
        gaps = np.diff(np.append(heights, heights[0] + atoms.cell[2, 2]))
        assert gaps.max() == pytest.approx(vacuum)
        assert atoms.cell[2, :2] == pytest.approx([0, 0])
        assert len(atoms) <= 24
        assert len(atoms) % len(reference) == 0, "stoichiometric"
        area = atoms.get_volume() / atoms.cell[2, 2]
        thickness = area * (atoms.cell[2, 2] - vacuum) / len(atoms)
        assert thickness < density < thickness * 1.9
        assert closest_contact(atoms) == pytest.approx(closest_contact(reference), rel=1e-3)


def test_copper_slabs_are_ases_own():
    made = {tuple(provenance_of(a)["miller"]): a for a in surfaces(CU, 6, rng(), sigma_A=0.0)}
    slab = made[1, 1, 1]
    ours, theirs = slab, fcc111("Cu", (1, 1, len(slab)), a=3.61, vacuum=4.0, periodic=True)
    assert ours.get_volume() == pytest.approx(theirs.get_volume())
    assert np.sort(ours.positions[:, 2]) == pytest.approx(np.sort(theirs.positions[:, 2]))
    first = np.sort(neighbor_list("d", ours, 4.5))
    assert first == pytest.approx(np.sort(neighbor_list("d", theirs, 4.5)))


def test_silicon_111_is_cut_between_the_bilayers():
    slabs = {tuple(provenance_of(a)["miller"]): a for a in surfaces(SI, 8, rng(), sigma_A=0.0)}
    slab = slabs[1, 1, 1]
    bonds = np.bincount(neighbor_list("i", slab, 2.6), minlength=len(slab))
    assert sorted(bonds)[:2] == [3, 3], "one dangling bond on each side, not three"


def test_a_box_limit_bounds_slabs():
    made = surfaces(SI, 16, rng(), box_cost_limit_A3=250.0)
    assert all(a.get_volume() <= 250.0 for a in made)
    assert surfaces(SI, 16, rng(), box_cost_limit_A3=20.0) == []


@pytest.mark.parametrize("maker", [vacancies, interstitials, surfaces])
def test_defects_keep_atoms_apart_and_are_determined_by_the_seed(maker):
    first = maker(SI, 16, rng())
    again = maker(SI, 16, rng())
    assert first
    assert [a.positions.tobytes() for a in first] == [a.positions.tobytes() for a in again]
    assert all(closest_contact(a) >= ORDINARY_CONTACT for a in first)
