"""The check that gamma is alive: fires for a dead active set, never for a sound one."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.gamma_alive import check_gamma_alive, probe_displacements


def _gammas(potential, atoms):
    calculator = potential.calculator()

    def of(positions):
        copy = atoms.copy()
        copy.positions = positions
        calculator.calculate(copy)
        return np.array(calculator.results["gamma"])

    def gammas(probes):
        pushed = {}
        for index, displacement in probes.items():
            positions = atoms.get_positions()
            positions[index] += displacement
            pushed[index] = of(positions)
        return of(atoms.get_positions()), pushed

    return gammas


def test_one_atom_of_each_element_is_pushed_toward_its_neighbour():
    atoms = bulk("Cu", a=3.6, cubic=True).repeat((2, 1, 1))
    atoms.symbols[5] = "Au"
    probes = probe_displacements(atoms, 5.0)
    assert {atoms.symbols[i] for i in probes} == {"Cu", "Au"}
    for index, push in probes.items():
        assert 0.4 <= np.linalg.norm(push) <= 1.0
        before = np.sort(atoms.get_distances(index, range(len(atoms)), mic=True))[1]
        moved = atoms.copy()
        moved.positions[index] += push
        after = np.sort(moved.get_distances(index, range(len(atoms)), mic=True))[1]
        assert after == pytest.approx(before - np.linalg.norm(push), abs=1e-9)


@pytest.mark.parametrize("amplitude_A", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("kind", ["crystal", "slab", "cluster", "compressed"])
def test_a_sound_active_set_passes(cu, kind, amplitude_A):
    atoms = {
        "crystal": bulk("Cu", a=3.6, cubic=True).repeat((2, 1, 1)),
        "slab": fcc111("Cu", (2, 2, 3), a=3.6, vacuum=6.0),
        "cluster": Atoms("Cu4", bulk("Cu", a=3.6, cubic=True).positions),
        "compressed": bulk("Cu", a=3.1, cubic=True),
    }[kind]
    atoms.positions += amplitude_A * np.random.default_rng(0).normal(size=atoms.positions.shape)
    assert check_gamma_alive(atoms, 5.0, "p", _gammas(cu, atoms)) == ()


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e-4])
def test_a_dead_active_set_is_caught(cu, with_active_set, scale):
    atoms = bulk("Cu", a=3.6, cubic=True)
    dead = with_active_set(cu, {"Cu": scale})
    with pytest.raises(DynamicsError, match=r"active set .* is broken"):
        check_gamma_alive(atoms, 5.0, "p", _gammas(dead, atoms))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gamma_that_is_no_number_is_caught(value):
    atoms = bulk("Cu", a=3.6, cubic=True)

    def gammas(probes):
        return np.full(4, value), {index: np.full(4, value) for index in probes}

    with pytest.raises(DynamicsError, match="not a finite number"):
        check_gamma_alive(atoms, 5.0, "p", gammas)


def test_constant_gamma_is_caught():
    atoms = bulk("Cu", a=3.6, cubic=True)

    def gammas(probes):
        return np.ones(4), {index: np.ones(4) for index in probes}

    with pytest.raises(DynamicsError, match="stays at 1"):
        check_gamma_alive(atoms, 5.0, "p", gammas)


def test_isolated_atoms_are_named_not_refused(cuau):
    atoms = Atoms("Cu2Au", [[0, 0, 0], [0, 0, 2.3], [0, 0, 30]])
    (warning,) = check_gamma_alive(atoms, 5.0, "p", _gammas(cuau, atoms))
    assert "Au could not be checked" in warning
