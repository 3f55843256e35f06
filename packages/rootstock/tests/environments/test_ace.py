"""The ace environment's file gives what pyacemaker's own calculator gives, to the last digits.

python-ace is in the environment the tests run in, so the file is loaded right here; that it
works in an environment of its own is tested with the other models.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from rootstock.build.smoke_test import load
from rootstock.root.shipped import FOLDER

pyacemaker_potential = pytest.importorskip("pyacemaker.potential")
Potential = pyacemaker_potential.Potential


def setup(model: Path | str, device: str = "cpu", **options: Any) -> Any:
    return load(FOLDER / "ace_env.py", str(model), device, options)


@pytest.fixture(scope="module")
def potential(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small fit of copper and gold, made by pyacemaker, with its ZBL baseline."""
    from pyacemaker.trainer.pacemaker import LinearTrainer
    from pyacemaker.trainer.settings import TrainerSettings

    trainer_tests = Path(__file__).parents[3] / "pyacemaker" / "tests" / "trainer"
    spec = importlib.util.spec_from_file_location("emt_labels", trainer_tests / "emt_labels.py")
    assert spec is not None
    assert spec.loader is not None
    emt = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(emt)
    pure = [*emt.rattled(["Cu"], 8, seed=3), *emt.rattled(["Au"], 8, seed=4)]
    train = [*pure, *emt.rattled(["Cu", "Au"], 16, seed=5)]
    fit = LinearTrainer(TrainerSettings(functions_per_element=30)).fit(
        train,
        emt.rattled(["Cu", "Au"], 8, seed=6),
        emt.reference_energies(["Cu", "Au"]),
        tmp_path_factory.mktemp("ace") / "potential",
        np.random.default_rng(0),
    )
    yield fit.potential


def structures() -> list[Atoms]:
    rng = np.random.default_rng(4)
    squeezed = bulk("Cu", "fcc", a=3.0, cubic=True)
    squeezed.symbols[1] = "Au"
    squeezed.positions += rng.normal(size=(4, 3)) * 0.12
    slab = fcc111("Cu", (2, 2, 3), a=3.6)
    slab.symbols[3] = "Au"
    slab.rattle(0.05, seed=1)
    slab.pbc = (True, True, False)
    slab.cell[2] = [0, 0, 6.0]
    cluster = slab.copy()
    cluster.pbc = False
    left_handed = bulk("Au", a=4.0, cubic=True)
    left_handed.set_cell(left_handed.cell[[1, 0, 2]], scale_atoms=False)
    oblique = bulk("Cu", a=3.6, cubic=True)
    transform = np.array([[1, 0, 0], [9, 1, 0], [-7, 5, 1]])
    oblique.set_cell(transform @ oblique.cell[:], scale_atoms=False)
    dimer = Atoms("CuAu", [[0, 0, 0], [0, 0, 0.9]])
    return [squeezed, slab, cluster, left_handed, oblique, dimer, bulk("Cu", a=3.5)]


def test_it_is_the_hybrid_to_the_last_digits(potential: Path) -> None:
    ours, theirs = setup(potential), Potential.load(potential).calculator()
    baseline = Potential.load(potential).manifest.zbl()
    assert baseline.compute(structures()[0]).energy > 0.1, "the baseline must matter"
    for atoms in structures():
        results = []
        for calculator in (ours, theirs):
            tried = atoms.copy()
            tried.calc = calculator
            tried.get_potential_energy()
            results.append(dict(calculator.results))
        one, two = results
        assert one.keys() == two.keys()
        for key, value in two.items():
            np.testing.assert_allclose(one[key], value, rtol=1e-12, atol=1e-10, err_msg=key)


def test_derivatives(potential: Path) -> None:
    atoms = structures()[0]
    atoms.calc = setup(potential)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(forces, numerical, atol=2e-5 * abs(forces).max())
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(stress, numerical, atol=2e-5 * abs(stress).max())


def test_a_file_of_the_directory_is_the_directory(potential: Path) -> None:
    atoms = structures()[0]
    energies = []
    for model in (potential, potential / "potential.yaml", potential / "potential.yace"):
        tried = atoms.copy()
        tried.calc = setup(model)
        energies.append(tried.get_potential_energy())
    assert energies[0] == energies[1] == energies[2]


def test_files_of_pacemaker_alone(potential: Path, tmp_path: Path) -> None:
    """Without the manifest: .yaml is the residual, .yace has the isolated atoms' energies."""
    for name in ("potential.yaml", "potential.asi", "potential.yace"):
        shutil.copy(potential / name, tmp_path / name)
    whole = Potential.load(potential)
    atoms = bulk("Cu", cubic=True)  # at its own volume the ZBL does nothing
    atoms.symbols[0] = "Au"
    assert whole.manifest.zbl().compute(atoms).energy == 0.0
    energies = {}
    for name in ("potential.yaml", "potential.yace"):
        tried = atoms.copy()
        tried.calc = setup(tmp_path / name)
        energies[name] = tried.get_potential_energy()
        assert ("gamma" in tried.calc.results) == (name == "potential.yaml")
    atoms.calc = whole.calculator()
    expected = atoms.get_potential_energy()
    reference = whole.reference_energy(atoms)
    assert energies["potential.yaml"] == pytest.approx(expected - reference, abs=1e-10)
    assert energies["potential.yace"] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("asi", "potential.asi is broken"),
        ("gone", "potential.yaml is missing"),
        ("version", "manifest of version 1"),
    ],
)
def test_a_broken_directory(potential: Path, tmp_path: Path, change: str, said: str) -> None:
    copy = tmp_path / "potential"
    shutil.copytree(potential, copy)
    if change == "asi":
        (copy / "potential.asi").write_bytes(b"x")
    elif change == "gone":
        (copy / "potential.yaml").unlink()
    else:
        manifest = json.loads((copy / "potential.json").read_text())
        (copy / "potential.json").write_text(json.dumps(manifest | {"format_version": 2}))
    with pytest.raises(RuntimeError, match=said):
        setup(copy)


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (Atoms("CuFe", [[0, 0, 0], [0, 0, 2.5]]), "does not know Fe: it is for Au, Cu"),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, np.nan]]), "not finite"),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, 0]]), "lie on each other"),
        (Atoms("Cu", cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=True), "without volume"),
    ],
)
def test_refusals(potential: Path, atoms: Atoms, said: str) -> None:
    tried = atoms.copy()
    tried.calc = setup(potential)
    with pytest.raises(RuntimeError, match=said):
        tried.get_potential_energy()


def test_what_setup_refuses(tmp_path: Path, potential: Path) -> None:
    with pytest.raises(ValueError, match="ace needs a potential"):
        setup("")
    with pytest.raises(ValueError, match=r"name the \.yaml or \.yace in it"):
        setup(tmp_path)
    with pytest.raises(ValueError, match="CPU only"):
        setup(potential, device="cuda")
    with pytest.raises(ValueError, match="no options"):
        setup(potential, speed=1)
    odd = tmp_path / "weights.pt"
    odd.touch()
    with pytest.raises(RuntimeError, match=r"neither a \.yaml nor a \.yace"):
        setup(odd)
