"""The rows by matrix products are pyace's own, and its slow gradients, digit for digit."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from pyace.basis import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.evaluator import ACEBEvaluator
from scipy.special import sph_harm_y

from pyacemaker.potential.environment import atomic_environment
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.gradients import BasisGradients
from pyacemaker.trainer.harmonics import harmonics
from pyacemaker.trainer.settings import TrainerSettings


def alloy() -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.7, cubic=True) * (2, 1, 1)
    atoms.symbols[:] = ["Cu", "Au"] * 4
    atoms.rattle(0.1, seed=1)
    return atoms


STRUCTURES = {
    "alloy": alloy(),
    "one atom, images only": bulk("Cu", a=3.6),
    "slab": fcc111("Cu", (2, 2, 2), a=3.6, vacuum=6.0),
    "dimer": Atoms("CuAu", [[0, 0, 0], [0, 0, 2.2]]),
    "out of reach": Atoms("CuAu", [[0, 0, 0], [0, 0, 20.0]]),
    "alone": Atoms("Au"),
}


@pytest.fixture(scope="module")
def basis() -> ACEBBasisSet:
    settings = TrainerSettings(functions_per_element=150, cutoff_A=4.5)
    return ACEBBasisSet(basis_configuration(["Cu", "Au"], settings))


@pytest.mark.parametrize("name", STRUCTURES)
def test_values_and_forces_are_pyaces(basis, name):
    atoms = STRUCTURES[name]
    gradients = BasisGradients(basis)
    projections, forces, _ = gradients.compute(atoms)
    evaluator, calculator = ACEBEvaluator(basis), ACECalculator()
    calculator.set_evaluator(evaluator)
    environment = atomic_environment(atoms, gradients.cutoff_A, gradients.species)
    calculator.compute(environment, compute_projections=True, compute_b_grad=True)
    for element, mu in gradients.species.items():
        theirs = [
            values
            for values, symbol in zip(calculator.projections, atoms.symbols, strict=True)
            if symbol == element
        ]
        theirs = np.array(theirs, dtype=float).reshape(-1, gradients.counts[mu])
        np.testing.assert_allclose(
            projections[mu], theirs, rtol=1e-10, atol=1e-12 * np.abs(theirs).max(initial=1.0)
        )
    theirs = np.asarray(calculator.forces_bfuncs, dtype=float).transpose(0, 2, 1)
    np.testing.assert_allclose(forces, theirs, atol=1e-10 * np.abs(theirs).max(initial=1.0))


def test_virial_is_the_derivative_by_strain(basis):
    atoms, gradients = alloy(), BasisGradients(basis)
    virial = gradients.compute(atoms)[2]
    for row, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        sides = []
        for sign in (1e-4, -1e-4):
            strain = np.eye(3)
            strain[a, b] += sign / 2
            strain[b, a] += sign / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            parts = gradients.compute(strained)[0]
            sides.append(np.concatenate([part.sum(axis=0) for part in parts]))
        slope = (sides[0] - sides[1]) / 2e-4
        np.testing.assert_allclose(virial[row], slope, atol=2e-6 * np.abs(virial).max())


def test_harmonics_are_scipys():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(20, 3))
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    values, gradient = harmonics(unit, 5)
    polar, azimuth = np.arccos(unit[:, 2]), np.arctan2(unit[:, 1], unit[:, 0])
    column = 0
    for degree in range(6):
        for m in range(degree + 1):
            theirs = np.sqrt(4 * np.pi) * sph_harm_y(degree, m, polar, azimuth)
            np.testing.assert_allclose(values[:, column], theirs, atol=1e-12)
            column += 1
    radial = np.einsum("pa,pak->pk", unit, gradient)
    np.testing.assert_allclose(radial, 0.0, atol=1e-12)
    step = 1e-6 * np.cross(unit, rng.normal(size=(20, 3)))
    moved = [unit + sign * step for sign in (1, -1)]
    sides = [harmonics(p / np.linalg.norm(p, axis=1)[:, None], 5)[0] for p in moved]
    along = np.einsum("pa,pak->pk", step, gradient)
    np.testing.assert_allclose(along, (sides[0] - sides[1]) / 2, atol=1e-13)
