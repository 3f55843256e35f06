"""The esper environment's descriptors, networks and calculator against what they must be."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from scipy.special import sph_harm_y

from rootstock.environments import esper_env as esper


def model(rng: np.random.Generator, cores: tuple[esper.Core, ...] = ()) -> esper.GrownModel:
    """Random networks of copper and gold on terms of up to four atoms."""
    functions = esper.functions_up_to(2, 5, (3, 3), (1, 3))
    descriptor = esper.Descriptor(["Au", "Cu"], 4.5, functions, cores)
    networks = {}
    for element in descriptor.elements:
        weights = {
            f"{element}.shift": rng.normal(size=len(functions)),
            f"{element}.scale": rng.uniform(10, 60, size=len(functions)),
            f"{element}.linear": 0.1 * rng.normal(size=len(functions)),
        }
        for n, width in ((0, 30), (1, len(functions))):
            shapes = {"W1": (6, width), "b1": (6,), "W2": (6, 6), "b2": (6,), "out": (6,)}
            for name, shape in shapes.items():
                weights[f"{element}.blocks.{n}.{name}"] = 0.3 * rng.normal(size=shape)
        blocks = [list(range(30)), list(range(len(functions)))]
        networks[element] = esper.network_of(weights, element, blocks, "silu")
    pairs = [esper.ZblPair(("Cu", "Cu"), 1.2, 2.4)]
    return esper.GrownModel(descriptor, networks, {"Au": 0.5, "Cu": -1.0}, pairs)


def structures() -> list[Atoms]:
    crystal = bulk("Cu", a=3.4, cubic=True) * (2, 1, 1)
    crystal.symbols[::3] = "Au"
    crystal.rattle(0.15, seed=2)
    slab = fcc111("Au", (2, 2, 2), a=3.9, vacuum=4.0)
    slab.rattle(0.1, seed=1)
    small = bulk("Cu", a=3.5)
    strained = small.copy()
    strained.set_cell(strained.cell[:] @ (np.eye(3) + 0.03), scale_atoms=True)
    return [crystal, slab, small, strained, Atoms("CuAu", [[0, 0, 0], [0, 0.3, 2.0]])]


@pytest.mark.parametrize("closed", [False, True])
def test_forces_and_stress_are_the_energys_slopes(closed: bool) -> None:
    cores = (esper.Core(("Cu", "Cu"), 2.5, 0.3, 30.0, 0.5),) if closed else ()
    made = model(np.random.default_rng(1), cores)
    for atoms in structures():
        atoms.calc = esper.GrownCalculator(made)
        np.testing.assert_allclose(
            atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=3e-6
        )
        if atoms.cell.rank == 3:
            np.testing.assert_allclose(
                atoms.get_stress(), calculate_numerical_stress(atoms, 1e-5), atol=1e-7
            )


def test_invariant_under_rotation_reflection_and_permutation() -> None:
    made = model(np.random.default_rng(2))
    (crystal, *_), order = structures(), np.random.default_rng(0).permutation(8)
    wanted = esper.evaluate(made, crystal)
    turned = crystal.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    mirrored = crystal.copy()
    mirrored.set_cell(-mirrored.cell[:], scale_atoms=True)
    for other in (turned, mirrored, crystal[order], crystal * (2, 1, 1)):
        found = esper.evaluate(made, other)["energy"]
        times = len(other) / len(crystal)
        assert found == pytest.approx(times * wanted["energy"], abs=1e-9)


def test_an_atom_alone_has_its_own_energy_and_feels_nothing_beyond_the_cutoff() -> None:
    made = model(np.random.default_rng(3))
    assert esper.evaluate(made, Atoms("Cu"))["energy"] == pytest.approx(-1.0, abs=1e-12)
    far = esper.evaluate(made, Atoms("CuAu", [[0, 0, 0], [0, 0, 4.4999]]))
    assert far["energy"] == pytest.approx(-0.5, abs=1e-6)
    assert np.abs(far["forces"]).max() < 1e-4


def test_harmonics_are_scipys() -> None:
    unit = np.random.default_rng(0).normal(size=(20, 3))
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    theta, phi = np.arccos(unit[:, 2]), np.arctan2(unit[:, 1], unit[:, 0])
    values, _ = esper.real_harmonics(unit, 4)
    for degree in range(5):
        for m in range(-degree, degree + 1):
            complex_ = sph_harm_y(degree, abs(m), theta, phi) * np.sqrt(4 * np.pi)
            part = complex_.real if m >= 0 else complex_.imag
            wanted = part * (np.sqrt(2) * (-1) ** m if m else 1.0)
            np.testing.assert_allclose(values[:, degree * (degree + 1) + m], wanted, atol=1e-12)


def test_three_neighbours_couple_to_an_invariant_that_is_not_made_of_pairs() -> None:
    """Against the sum over triples of the mean of P_l1 P_l2 P_l3 over common rotations."""
    functions = [((0, 1, 1), (0, 1, 1), (0, 1, 2)), ((0, 1, 2), (0, 1, 2), (0, 1, 2))]
    descriptor = esper.Descriptor(["Cu"], 5.0, functions)
    atoms = Atoms("Cu4", [[0, 0, 0], [1.5, 0.2, 0.3], [-0.4, 1.9, 0.5], [0.3, -0.7, 2.1]])
    pairs, kinds = descriptor.neighbours(atoms)
    base = descriptor.base(pairs, kinds)
    found = descriptor.values(base)[0]
    near = pairs.i == 0
    unit = pairs.vector[near] / pairs.distance[near][:, None]
    radial = esper.radial_functions(pairs.distance[near], 5.0, 1)[0][:, 0]
    y, tensor = esper.real_harmonics(unit, 2)[0], esper.gaunt(2)
    for function, value in zip(functions, found, strict=True):
        spans = [range(d * d, (d + 1) ** 2) for _, _, d in function]
        wanted = 0.0
        for j, k, p in product(range(3), repeat=3):
            weight = radial[j] * radial[k] * radial[p]
            for a, b, c in product(*spans):
                wanted += weight * tensor[a, b, c] * y[j, a] * y[k, b] * y[p, c]
        assert value == pytest.approx(wanted, abs=1e-12)
        assert abs(value) > 1e-6


def test_functions_are_extended_at_their_end_only() -> None:
    small, large = (esper.functions_up_to(1, n, (k, k), (1, 2)) for n, k in ((4, 2), (6, 3)))
    more = [*small, *(f for f in large if f not in set(small))]
    atoms = structures()[2]
    values = []
    for functions in (small, more):
        descriptor = esper.Descriptor(["Cu"], 5.0, functions)
        values.append(descriptor.values(descriptor.base(*descriptor.neighbours(atoms))))
    np.testing.assert_allclose(values[1][:, : len(small)], values[0], rtol=1e-13)


def test_closing_changes_nothing_outside_and_repels_inside() -> None:
    made = model(np.random.default_rng(4))
    core = esper.Core(("Cu", "Cu"), 2.0, 0.2, 300.0, 0.5)
    old = made.descriptor
    closed = replace(
        made, descriptor=esper.Descriptor(old.elements, old.cutoff_A, old.functions, (core,))
    )

    def energy(which: esper.GrownModel, r: float) -> float:
        return float(esper.evaluate(which, Atoms("Cu2", [[0, 0, 0], [0, 0, r]]))["energy"])

    assert energy(closed, 2.001) == energy(made, 2.001)
    energies = [energy(closed, r) for r in (0.5, 0.8, 1.1)]
    assert energies == sorted(energies, reverse=True)
    gold = Atoms("Au2", [[0, 0, 0], [0, 0, 1.0]])
    assert esper.evaluate(closed, gold)["energy"] == esper.evaluate(made, gold)["energy"]


def test_what_it_cannot_take_is_refused() -> None:
    made = model(np.random.default_rng(5))
    with pytest.raises(esper.EsperError, match="does not know Ag"):
        esper.evaluate(made, bulk("Ag"))
    with pytest.raises(esper.EsperError, match="lie on each other"):
        esper.evaluate(made, Atoms("Cu2", [[0, 0, 0], [0, 0, 1e-5]]))
    with pytest.raises(esper.EsperError, match="not finite"):
        esper.evaluate(made, Atoms("Cu", [[np.nan, 0, 0]]))
