"""Whatever fitted it, a potential is one function: to its fitter, to ASE and to LAMMPS."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import full_3x3_to_voigt_6_stress
from pyace.basis import ACEBBasisSet

from pyacemaker.parts.ace_jax import ace_jax
from pyacemaker.potential import Potential
from pyacemaker.process import run_program
from pyacemaker.provenance import tag
from pyacemaker.trainer.ace_jax import AceJaxTrainer
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.imported import ImportedTrainer
from pyacemaker.trainer.pacemaker import LinearTrainer
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


def test_terms_of_two_reaches(lammps, tmp_path):
    settings = TrainerSettings(cutoff_A=4.0, far_cutoff_A=6.0, functions_per_element=60)
    result = LinearTrainer(settings).fit(
        structures(16, seed=0), [], REFERENCE, tmp_path / "out", np.random.default_rng(0)
    )
    potential = Potential.load(result.potential)
    same_everywhere(potential, rows_of(potential), lammps)


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

    folder = tmp_path / "p.ace-jax"
    (folder / "own.py").write_text(OWN)
    write(folder / "in.xyz", [bare(atoms) for atoms in structures(3, seed=9)])
    environment = ace_jax()
    ended = run_program(
        [str(environment.python), "own.py"],
        cwd=folder,
        stdout=folder / "own.log",
        timeout_s=300,
        env=environment.variables(JAX_PLATFORMS="cpu"),
    )
    assert ended.returncode == 0, (folder / "own.log").read_text()[-2000:]
    answers = iter(json.loads((folder / "own.json").read_text()))

    def its_own(atoms: Atoms):
        energy, forces, stress = next(answers)
        return energy, np.array(forces), np.array(stress) * atoms.get_volume()

    same_everywhere(Potential.load(result.potential), its_own, lammps, tolerance=1e-6)


OWN = """
import json
import jax
jax.config.update("jax_enable_x64", True)
from ace_jax import ACECalculator
from ase.io import read
found = []
for atoms in read("in.xyz", ":"):
    atoms.calc = ACECalculator("fit/model.npz")
    found.append([float(atoms.get_potential_energy()), atoms.get_forces().tolist(),
                  atoms.get_stress().tolist()])
json.dump(found, open("own.json", "w"))
"""


def bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)


def bare_atom() -> Atoms:
    atoms = Atoms("Cu")
    atoms.calc = SinglePointCalculator(atoms, energy=REFERENCE["Cu"], forces=np.zeros((1, 3)))
    return tag(atoms, "isolated", "isolated-Cu")


def test_finnis_sinclair_is_imported_and_stays_what_it_is(tmp_path, lammps):
    """Two densities: LAMMPS and ASE agree, and the file comes back from its .yace alone."""
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
