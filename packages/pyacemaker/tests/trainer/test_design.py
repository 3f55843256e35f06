from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from pyace.basis import ACEBBasisSet

from pyacemaker.potential import PotentialError, write_potential
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.basis import basis_configuration, functions_by_element, potential_config
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.settings import TrainerSettings


@pytest.fixture(scope="module")
def random_alloy(tmp_path_factory):
    """A basis with random coefficients and the ASE calculator of its potential."""
    basis = ACEBBasisSet(
        basis_configuration(["Cu", "Au"], TrainerSettings(functions_per_element=50))
    )
    basis.basis_coeffs = np.random.default_rng(3).normal(size=len(basis.basis_coeffs)) * 0.01
    potential = write_potential(
        tmp_path_factory.mktemp("random") / "potential",
        basis=basis,
        active_set_inverse={e: np.eye(n) for e, n in functions_by_element(basis).items()},
        reference_energies={"Cu": 0.0, "Au": 0.0},
        baseline=ZblBaseline(()),
        fit={"kind": "random"},
    )
    return Projector(basis), np.array(basis.basis_coeffs), potential


def test_rows_times_coefficients_are_the_potential(random_alloy, emt):
    projector, coefficients, potential = random_alloy
    for structure in [
        *emt.rattled(["Cu", "Au"], 2, seed=8),
        Atoms("CuAu", [[0, 0, 0], [0, 0, 2.2]]),
    ]:
        rows = projector.rows(structure)
        atoms = structure.copy()
        atoms.calc = potential.calculator()
        assert rows.energy @ coefficients == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
        np.testing.assert_allclose(rows.forces @ coefficients, atoms.get_forces(), atol=1e-10)
        if structure.cell.rank == 3:
            virial = atoms.get_stress() * atoms.get_volume()
            np.testing.assert_allclose(
                rows.virial @ coefficients, virial, atol=1e-9 * abs(virial).max()
            )
        else:
            assert rows.virial is None


def test_projections_do_not_see_rotation_translation_or_order(random_alloy, emt):
    projector, _, _ = random_alloy
    (atoms,) = emt.rattled(["Cu", "Au"], 1, seed=9)
    turned = atoms.copy()
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    turned.positions += [0.3, -1.2, 4.0]
    order = np.random.default_rng(0).permutation(len(atoms))
    before, after = projector.projections(atoms), projector.projections(turned[order])
    for element in ("Au", "Cu"):
        place = [n for n in order if atoms.symbols[n] == element]
        index = np.flatnonzero(atoms.symbols == element).tolist()
        np.testing.assert_allclose(
            after[element], before[element][[index.index(n) for n in place]], rtol=1e-8, atol=1e-10
        )


def test_unknown_element_is_named(random_alloy):
    with pytest.raises(PotentialError, match="does not know Zr"):
        random_alloy[0].projections(Atoms("CuZr", [[0, 0, 0], [0, 0, 2.5]]))


@pytest.mark.parametrize("elements", [["Si"], ["O", "Ti"], ["Al", "Cu", "Ni"]])
def test_default_basis_has_the_functions_it_promises(elements):
    settings = TrainerSettings(functions_per_element=100)
    counts = functions_by_element(ACEBBasisSet(basis_configuration(elements, settings)))
    assert sorted(counts) == elements
    assert all(90 <= n <= 100 for n in counts.values())


@pytest.mark.parametrize("elements", [["Cu"], ["Au", "Cu"]])
def test_a_lean_basis_expands_neighbours_less_far(elements):
    def cost(basis: str) -> int:
        settings = TrainerSettings(functions_per_element=100, basis=basis)
        made = ACEBBasisSet(basis_configuration(elements, settings))
        assert all(90 <= n <= 100 for n in functions_by_element(made).values())
        return made.radial_functions.nradial * (made.lmax + 1) ** 2

    assert cost("lean") <= 64 < cost("full")


def test_body_order_is_kept():
    settings = TrainerSettings(functions_per_element=100, max_body_order=3)
    (block,) = basis_configuration(["Si"], settings).funcspecs_blocks
    assert max(len(f.ns) for f in block.funcspecs) == 2


def test_not_an_element():
    with pytest.raises(TrainerError, match="not an element: Xx"):
        potential_config(["Cu", "Xx"], TrainerSettings())
