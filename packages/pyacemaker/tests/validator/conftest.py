"""Good potentials, and bad ones made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.tersoff import Tersoff, TersoffParameters

from pyacemaker.validator.settings import ValidationSettings

SIGMA, EPSILON, CUTOFF, ONSET = 3.405, 0.0104, 8.0, 6.0


class Altered(Calculator):
    """A calculator whose results another function changes: results, atoms -> None."""

    implemented_properties = ("energy", "forces", "stress", "free_energy")

    def __init__(self, inner: Calculator, change: Callable[[dict[str, Any], Atoms], None]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms, ["energy", "forces", "stress"], all_changes)
        self.results = {
            key: np.array(self.inner.results[key], dtype=float)
            for key in ("energy", "forces", "stress")
        }
        self.change(self.results, self.atoms)
        self.results["energy"] = float(self.results["energy"])
        self.results["free_energy"] = self.results["energy"]


@pytest.fixture
def altered():
    return Altered


@pytest.fixture
def argon_potential() -> LennardJones:
    return LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF, ro=ONSET, smooth=True)


@pytest.fixture
def argon() -> Atoms:
    return bulk("Ar", "fcc", a=5.3)


@pytest.fixture
def copper() -> Atoms:
    return bulk("Cu", a=3.65)


@pytest.fixture
def emt() -> EMT:
    return EMT()


@pytest.fixture
def tersoff_silicon() -> Tersoff:
    """Tersoff's second parametrisation, T2 (J. Tersoff, Phys. Rev. B 37, 6991 (1988))."""
    return Tersoff(
        {
            ("Si", "Si", "Si"): TersoffParameters(
                m=3.0,
                gamma=1.0,
                lambda3=1.3258,
                c=4.8381,
                d=2.0417,
                h=0.0,
                n=22.956,
                beta=0.33675,
                lambda2=1.3258,
                B=95.373,
                R=3.0,
                D=0.2,
                lambda1=3.2394,
                A=3264.7,
            )
        }
    )


@pytest.fixture
def quick() -> ValidationSettings:
    """Smaller supercells than a real gate's: enough for potentials as short as these."""
    return ValidationSettings(
        phonon_min_edge_A=8.0,
        phonon_mesh_length_A=30.0,
        eos_points=9,
        relax_max_steps=60,
        md_steps=100,
    )


@pytest.fixture
def with_well() -> Callable[[float, float, float], Callable[[dict[str, Any], Atoms], None]]:
    """Make a change that adds a Gaussian well to E(V): depth (eV/atom), place, width (A^3)."""

    def made(depth: float, place: float, width: float):
        def change(results: dict[str, Any], atoms: Atoms) -> None:
            v = atoms.get_volume() / len(atoms)
            well = -depth * np.exp(-(((v - place) / width) ** 2))
            slope = well * -2 * (v - place) / width**2
            results["energy"] = results["energy"] + len(atoms) * well
            results["stress"][:3] += slope  # dE/dV = trace(stress)/3

        return change

    return made
