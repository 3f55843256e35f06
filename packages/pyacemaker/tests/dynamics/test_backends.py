"""Whatever fitted it, a potential is one function: to its fitter, to ASE and to LAMMPS."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.stress import full_3x3_to_voigt_6_stress
from pyace.basis import ACEBBasisSet

from pyacemaker.parts.ace_jax import ace_jax
from pyacemaker.potential import Potential
from pyacemaker.process import run_program
from pyacemaker.provenance import tag
from pyacemaker.trainer.ace_jax import AceJaxTrainer
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.imported import ImportedTrainer
from pyacemaker.trainer.settings import TrainerSettings

pytestmark = pytest.mark.real

REFERENCE = {"Cu": -1.5}


def structures(count: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (1 + n % 2, 1, 1)
        strain = np.eye(3) + 0.02 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
        atoms.positions += 0.08 * rng.normal(size=atoms.positions.shape)
        work = atoms.copy()
        work.calc = EMT()
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=work.get_potential_energy() + REFERENCE["Cu"] * len(atoms),
            forces=work.get_forces(),
            stress=work.get_stress(),
        )
        made.append(tag(atoms, "strained", f"structure-{seed}-{n}"))
    return made


def same_everywhere(potential: Potential, fitter, lammps, tolerance: float = 1e-6) -> None:
    """`fitter` gives energy less isolated atoms and baseline, forces and virial, of the ACE."""
    for atoms in structures(3, seed=9):
        work = atoms.copy()
        work.calc = potential.calculator()
        energy, forces, stress = work.get_potential_energy(), work.get_forces(), work.get_stress()
        theirs = lammps.energy_forces(atoms.copy(), potential)
        assert theirs.energy == pytest.approx(energy, rel=1e-6)
        np.testing.assert_allclose(theirs.forces, forces, atol=1e-6)
        np.testing.assert_allclose(theirs.stress, stress, atol=1e-7)
        np.testing.assert_allclose(theirs.gamma, work.calc.results["gamma"], rtol=1e-5, atol=1e-6)
        pairs = potential.manifest.zbl().compute(atoms)
        ace, pull, virial = fitter(atoms)
        whole = ace + pairs.energy + potential.reference_energy(atoms)
        assert whole == pytest.approx(energy, abs=tolerance * len(atoms))
        np.testing.assert_allclose(pull + pairs.forces, forces, atol=10 * tolerance)
        total = virial + full_3x3_to_voigt_6_stress(pairs.virial)
        np.testing.assert_allclose(total / atoms.get_volume(), stress, atol=10 * tolerance)


def rows_of(potential: Potential):
    basis = ACEBBasisSet(str(potential.directory / "potential.yaml"))
    projector, coefficients = Projector(basis), np.asarray(basis.basis_coeffs)

    def evaluate(atoms: Atoms):
        rows = projector.rows(atoms)
        return rows.energy @ coefficients, rows.forces @ coefficients, rows.virial @ coefficients

    return evaluate


def test_pacemaker_linear(cu, lammps):
    same_everywhere(cu, rows_of(cu), lammps)


@pytest.mark.parametrize("name", ["potential.yace", "potential.yaml", ""])
def test_imported(name, cu, lammps, tmp_path):
    path = tmp_path / (name or "directory")
    if name:
        shutil.copy(cu.directory / name, path)
    else:
        shutil.copytree(cu.directory, path)
    settings = TrainerSettings(backend="imported", potential=str(path))
    result = ImportedTrainer(settings).fit(
        structures(12, seed=0), [], REFERENCE, tmp_path / "out", np.random.default_rng(0)
    )
    assert result.metrics["gamma_max_train"] <= 1.01
    potential = Potential.load(result.potential)
    assert potential.reference_energy(bulk("Cu")) == pytest.approx(REFERENCE["Cu"])
    same_everywhere(potential, rows_of(cu), lammps)


def test_ace_jax(lammps, tmp_path):
    settings = TrainerSettings(
        backend="ace-jax", cutoff_A=4.5, max_body_order=3, ace_jax_degree=8, baseline="none"
    )
    said: list[str] = []
    train = [*structures(16, seed=0), bare_atom()]
    result = AceJaxTrainer(settings, said.append).fit(
        train, structures(4, seed=5), REFERENCE, tmp_path / "p", np.random.default_rng(0)
    )
    assert result.metrics["validation"]["energy_rmse"] < 0.005
    assert result.metrics["validation"]["force_rmse"] < 0.05
    assert result.metrics["validation"]["stress_rmse"] < 0.5
    assert result.metrics["gamma_max_train"] <= 1.01
    assert result.metrics["table_error"] < 1e-9
    assert result.metrics["hyperparameters"]["log_sigma_F"] < 0
    assert any("ace-jax" in line for line in said)

    def its_own(atoms: Atoms):
        folder = tmp_path / "p.ace-jax"
        write(folder / "in.xyz", Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True))
        environment = ace_jax()
        command = [str(environment.program("aj")), "eval", "--model", "fit/model.npz"]
        ended = run_program(
            [*command, "--data", "in.xyz", "--out", "out.xyz"],
            cwd=folder,
            stdout=folder / "eval.log",
            timeout_s=300,
            env=environment.variables(JAX_PLATFORMS="cpu"),
        )
        assert ended.returncode == 0, (folder / "eval.log").read_text()[-2000:]
        found = read(folder / "out.xyz")
        stress = np.asarray(found.info["ace_stress"], dtype=float)
        if stress.shape == (3, 3):
            stress = full_3x3_to_voigt_6_stress(stress)
        return found.info["ace_energy"], found.arrays["ace_forces"], stress * atoms.get_volume()

    same_everywhere(Potential.load(result.potential), its_own, lammps, tolerance=1e-6)


def bare_atom() -> Atoms:
    atoms = Atoms("Cu")
    atoms.calc = SinglePointCalculator(atoms, energy=REFERENCE["Cu"], forces=np.zeros((1, 3)))
    return tag(atoms, "isolated", "isolated-Cu")


def test_finnis_sinclair_is_imported_and_stays_what_it_is(tmp_path, lammps):
    """Two densities: LAMMPS and ASE agree, and the file comes back from its .yace alone."""
    path = Path(__file__).parents[1] / "trainer_fs"
    assert path.is_dir() and sys.version_info >= (3, 11)
    from pyacemaker.trainer.basis import basis_configuration

    settings = TrainerSettings(functions_per_element=30, cutoff_A=4.5)
    basis = ACEBBasisSet(basis_configuration(["Cu"], settings, "finnis-sinclair"))
    rng = np.random.default_rng(0)
    basis.basis_coeffs = 1e-2 * rng.normal(size=len(basis.basis_coeffs))
    basis.to_ACECTildeBasisSet().save_yaml(str(tmp_path / "fs.yace"))
    result = ImportedTrainer(
        TrainerSettings(backend="imported", potential=str(tmp_path / "fs.yace"))
    ).fit(structures(6, seed=0), [], REFERENCE, tmp_path / "out", rng)
    potential = Potential.load(result.potential)
    for atoms in structures(2, seed=9):
        work = atoms.copy()
        work.calc = potential.calculator()
        theirs = lammps.energy_forces(atoms.copy(), potential)
        assert theirs.energy == pytest.approx(work.get_potential_energy(), rel=1e-6)
        np.testing.assert_allclose(theirs.forces, work.get_forces(), atol=1e-6)
        np.testing.assert_allclose(theirs.stress, work.get_stress(), atol=1e-7)
