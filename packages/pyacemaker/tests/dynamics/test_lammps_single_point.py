"""LAMMPS with the plugin is the same function of the atoms as the ASE calculator."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

pytestmark = pytest.mark.real

RELATIVE = 1e-6


def _cells() -> dict[str, Atoms]:
    cubic = bulk("Cu", a=3.6, cubic=True)
    primitive = bulk("Cu", a=3.6)
    triclinic = cubic.repeat((2, 1, 1))
    rng = np.random.default_rng(7)
    shear = np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    triclinic.set_cell(triclinic.cell @ shear @ turn, scale_atoms=True)
    if np.linalg.det(triclinic.cell) < 0:
        triclinic.set_cell(-triclinic.cell, scale_atoms=True)
    slab = fcc111("Cu", (2, 2, 3), a=3.6, vacuum=6.0)
    slab_along_x = slab.copy()
    slab_along_x.set_cell(slab.cell[[2, 0, 1]])
    slab_along_x.pbc = (False, True, True)
    open_slab = fcc111("Cu", (2, 2, 3), a=3.6)
    cluster = cubic.copy()
    cluster.pbc = False
    bare_cluster = Atoms(cubic.symbols, cubic.positions + 100.0)
    far_outside = cubic.copy()
    far_outside.positions -= 37.0
    wire = cubic.repeat((1, 1, 2))
    wire.pbc = (False, False, True)
    short = cubic.copy()
    short.positions[0] = short.positions[1] + (0.3, 0.7, 0.4)
    return {
        "cubic": cubic,
        "primitive cells, smaller than the cutoff": primitive.repeat((3, 2, 1)),
        "one atom, images only": bulk("Cu", a=3.4),
        "triclinic, turned": triclinic,
        "slab": slab,
        "slab along x": slab_along_x,
        "slab without a third vector": open_slab,
        "wire": wire,
        "cluster": cluster,
        "cluster without cell": bare_cluster,
        "atoms outside the cell": far_outside,
        "atoms at 0.9 angstrom, where ZBL rules": short,
    }


CELLS = _cells()


def _close(ours, reference, scale_floor: float = 0.0) -> None:
    scale = max(np.abs(reference).max(), scale_floor)
    np.testing.assert_allclose(ours, reference, rtol=0, atol=RELATIVE * scale)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("system", ["cu", "cuau"])
def test_lammps_equals_the_ase_calculator(name, system, lammps, request):
    potential = request.getfixturevalue(system)
    atoms = CELLS[name].copy()
    rng = np.random.default_rng(11)
    atoms.symbols[:] = rng.choice(potential.elements, len(atoms))
    atoms.positions += 0.08 * rng.normal(size=atoms.positions.shape)

    ours = lammps.energy_forces(atoms, potential)
    atoms.calc = potential.calculator()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()

    assert ours.energy == pytest.approx(energy, rel=RELATIVE)
    _close(ours.forces, forces, scale_floor=1e-3)  # one atom has no force at all
    _close(ours.gamma, atoms.calc.results["gamma"])
    if "stress" in atoms.calc.results:
        _close(ours.stress, atoms.calc.results["stress"])
    else:
        assert ours.stress is None


@pytest.mark.parametrize("distance", [0.4, 1.0, 1.6, 1.9, 2.1, 2.3])
def test_a_closed_short_range_is_the_same_function(distance, lammps, closed_cu):
    """Where ACE is switched off and the core repulsion on (see `trainer.closing`)."""
    assert closed_cu.manifest.fit["short_range"]["Cu-Cu"]["core_strength_eV_A"] > 0
    atoms = bulk("Cu", a=3.6, cubic=True).repeat((2, 1, 1))
    atoms.positions[0] = atoms.positions[1] + distance * np.array([0.6, 0.0, 0.8])
    ours = lammps.energy_forces(atoms, closed_cu)
    atoms.calc = closed_cu.calculator()
    assert ours.energy == pytest.approx(atoms.get_potential_energy(), rel=RELATIVE)
    _close(ours.forces, atoms.get_forces())
    _close(ours.stress, atoms.get_stress())
    _close(ours.gamma, atoms.calc.results["gamma"])


def test_energy_is_on_the_labels_scale(lammps, cuau):
    """Two atoms out of reach of each other have the isolated atoms' energies and nothing else."""
    atoms = Atoms("CuAu", [[0, 0, 0], [0, 0, 20]])
    point = lammps.energy_forces(atoms, cuau)
    assert point.energy == pytest.approx(-1.5 - 2.25, abs=1e-9)
    assert np.all(point.forces == 0.0)


def test_left_handed_cell(lammps, cu):
    """The same crystal by a left-handed set of vectors: LAMMPS sees its mirror image."""
    atoms = bulk("Cu", a=3.6, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=2)
    strain = np.array([[1.0, 0.05, 0.0], [0.0, 1.0, 0.1], [0.03, 0.0, 1.0]])
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    right = lammps.energy_forces(atoms, cu)
    atoms.set_cell(atoms.cell[[1, 0, 2]])
    left = lammps.energy_forces(atoms, cu)
    assert left.energy == pytest.approx(right.energy, rel=1e-10)
    np.testing.assert_allclose(left.forces, right.forces, atol=1e-8)
    np.testing.assert_allclose(left.stress, right.stress, atol=1e-10)


def test_per_atom_masses_and_order_do_not_matter(lammps, cuau):
    atoms = bulk("Cu", a=3.8, cubic=True)
    atoms.symbols[:] = ["Cu", "Au", "Cu", "Au"]
    atoms.rattle(0.1, seed=1)
    plain = lammps.energy_forces(atoms, cuau)
    atoms.set_masses([63.0, 197.0, 65.0, 195.0])
    isotopes = lammps.energy_forces(atoms, cuau)
    np.testing.assert_allclose(isotopes.forces, plain.forces, atol=1e-9)


def test_unknown_element_is_named(lammps, cu):
    with pytest.raises(Exception, match="does not know Ag"):
        lammps.energy_forces(bulk("Ag", cubic=True), cu)
