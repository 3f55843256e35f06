"""Surface energies against lattice sums over the bonds a cleavage cuts."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.surface import J_PER_M2, SurfaceCheck, faces_of

NORMALS = {"100": (1, 0, 0), "110": (1, 1, 0), "111": (1, 1, 1)}


def run(calculator, structure, **settings):
    return SurfaceCheck(ValidationSettings(**settings)).run(calculator, structure, [])


def cut_bonds(a: float, normal, potential) -> float:
    """Half the energy of all bonds across a plane, for each area (J/m^2): Born and Stern."""
    n = np.array(normal) / np.linalg.norm(normal)
    crystal = bulk("Ar", a=a)
    _, vectors = neighbor_list("iD", crystal, 8.0)
    heights = vectors @ n
    energy = potential(np.linalg.norm(vectors, axis=1))
    # A bond of height h is cut by the share h/d of the planes that repeat every d.
    density = 1 / crystal.get_volume()
    return float(-0.5 * density * (energy * heights)[heights > 0].sum() * J_PER_M2)


@pytest.mark.parametrize("face", ["100", "110", "111"])
def test_unrelaxed_faces_cost_the_bonds_they_cut(argon_potential, argon, face):
    result = run(argon_potential, argon)
    assert result.passed, result.reason
    from ase import Atoms

    def pair(distances):
        found = []
        for r in distances:
            dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, r]], calculator=argon_potential)
            found.append(dimer.get_potential_energy())
        return np.array(found)

    relaxed = run_lattice_constant(argon_potential, argon)
    expected = cut_bonds(relaxed, NORMALS[face], pair)
    assert result.numbers[f"unrelaxed_energy_{face}_J_per_m2"] == pytest.approx(expected, rel=1e-3)
    assert result.numbers[f"surface_energy_{face}_J_per_m2"] < expected


def run_lattice_constant(calculator, structure) -> float:
    from pyacemaker.validator.relax import relax

    return float((4 * relax(structure, calculator).atoms.get_volume()) ** (1 / 3))


def test_close_packed_is_cheapest(emt, copper):
    """EMT's order of copper's faces, and their size (0.9 to 1.3 J/m^2)."""
    result = run(emt, copper)
    assert result.passed, result.reason
    energies = [result.numbers[f"surface_energy_{face}_J_per_m2"] for face in NORMALS]
    assert energies[2] < energies[0] < energies[1]
    assert all(0.9 < energy < 1.4 for energy in energies)


def test_a_crystal_that_falls_apart_is_refused(altered, argon):
    inner = LennardJones(sigma=3.4, epsilon=0.0104)

    def repelling(results, atoms):
        vacuum = atoms.get_volume() / len(atoms) > 45
        results["energy"] = results["energy"] - (2.0 * len(atoms) if vacuum else 0.0)

    result = run(altered(inner, repelling), argon)
    assert not result.passed
    assert "gains energy by falling apart" in result.reason
    assert result.failure_structures
    assert {atoms.info["provenance"]["generator"] for atoms in result.failure_structures} == {
        "validator.surface"
    }


def test_faces_by_crystal_system():
    assert len(faces_of(bulk("Cu"), 0.01)) == 3
    assert faces_of(bulk("Mg"), 0.01) == ((0, 0, 1), (1, 0, 0))


def test_reference_by_face(emt, copper):
    far = run(emt, copper, reference={"surface_energy_111_J_per_m2": 2.0})
    assert not far.passed
    assert "surface_energy_111_J_per_m2" in far.reason
