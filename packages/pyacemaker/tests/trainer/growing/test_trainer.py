"""A fit by networks, from labels to a potential, its growth, and its resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from safetensors.numpy import load_file

from pyacemaker.potential import Potential, PotentialError
from pyacemaker.short_range import bond_of, distances_of, hole_in
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.growing import growth
from pyacemaker.trainer.growing import trainer as module
from pyacemaker.trainer.growing.enlarging import grown as carry_out
from pyacemaker.trainer.growing.problem import problem_of
from pyacemaker.trainer.growing.sizes import Size
from pyacemaker.trainer.growing.trainer import EsperTrainer
from pyacemaker.trainer.settings import TrainerSettings
from rootstock.build.smoke_test import load as load_environment
from rootstock.root.shipped import FOLDER

from ..emt_labels import rattled, reference_energies

SETTINGS = TrainerSettings(
    fit="esper", cutoff_A=4.5, esper_channels=0, esper_width=4, esper_epochs=12
)
TRAIN, VALIDATION = rattled(["Cu"], 24, seed=1), rattled(["Cu"], 8, seed=2)
ALONE = reference_energies(["Cu"])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    outdir = tmp_path_factory.mktemp("esper") / "potential"
    return EsperTrainer(SETTINGS).fit(TRAIN, VALIDATION, ALONE, outdir, np.random.default_rng(0))


def test_it_learns_and_says_what_it_did(fitted: FitResult) -> None:
    curves = fitted.metrics["curves"]
    assert len(curves["train"]) == len(curves["validation"]) == SETTINGS.esper_epochs + 1
    assert min(curves["validation"]) < 0.97 * curves["validation"][0]  # least squares alone
    usual = np.sqrt(np.mean([a.calc.results["forces"] ** 2 for a in VALIDATION]))
    assert fitted.metrics["validation"]["force_rmse"] < 0.1 * usual
    assert fitted.metrics["gamma_max_train"] == pytest.approx(1.0, abs=1e-2)
    assert fitted.metrics["kind"] == "esper"
    assert {p.name for p in fitted.potential.iterdir()} == {
        "potential.json", "network.json", "network.safetensors",
    }  # fmt: skip


def test_forces_and_stress_are_the_energys_slopes(fitted: FitResult) -> None:
    atoms = TRAIN[3].copy()
    atoms.calc = Potential.load(fitted.potential).calculator()
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6
    )
    np.testing.assert_allclose(
        atoms.get_stress(), calculate_numerical_stress(atoms, 1e-5), atol=1e-7
    )


def test_rootstocks_environment_gives_the_same_bits(fitted: FitResult) -> None:
    atoms, other = TRAIN[0].copy(), TRAIN[0].copy()
    atoms.calc = Potential.load(fitted.potential).calculator()
    other.calc = load_environment(FOLDER / "esper_env.py", str(fitted.potential), "cpu", {})
    assert atoms.get_potential_energy() == other.get_potential_energy()
    np.testing.assert_array_equal(atoms.get_forces(), other.get_forces())


def test_gamma_is_one_on_the_training_set_and_large_beyond(fitted: FitResult) -> None:
    calculator = Potential.load(fitted.potential).calculator()
    squeezed = bulk("Cu", a=3.0)
    squeezed.calc = calculator
    squeezed.get_potential_energy()
    assert calculator.results["gamma"].max() > 5.0
    atom = Atoms("Cu")
    atom.calc = calculator
    assert atom.get_potential_energy() == pytest.approx(ALONE["Cu"], abs=1e-12)


def test_a_pair_has_no_hole(fitted: FitResult) -> None:
    calculator = Potential.load(fitted.potential).calculator()
    distances = distances_of("Cu", "Cu")
    energies = []
    for r in distances:
        pair = Atoms("Cu2", [[0, 0, 0], [0, 0, r]], calculator=calculator)
        energies.append(pair.get_potential_energy() - 2 * ALONE["Cu"])
    assert hole_in(distances, np.array(energies), bond_of("Cu", "Cu")) is None


def test_the_same_generator_gives_the_same_bits(fitted: FitResult, tmp_path: Path) -> None:
    again = EsperTrainer(SETTINGS).fit(
        TRAIN, VALIDATION, ALONE, tmp_path / "p", np.random.default_rng(0)
    )
    ours, theirs = (load_file(f.potential / "network.safetensors") for f in (fitted, again))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_a_fit_goes_on_from_its_parent(fitted: FitResult, tmp_path: Path) -> None:
    after = EsperTrainer(SETTINGS).fit(
        TRAIN, VALIDATION, ALONE, tmp_path / "p", np.random.default_rng(1), fitted.potential
    )
    first = fitted.metrics["curves"]["validation"]
    assert after.metrics["curves"]["validation"][0] < 1.02 * min(first) < first[0]


def test_a_broken_or_foreign_parent(fitted: FitResult, tmp_path: Path) -> None:
    gold = EsperTrainer(SETTINGS)._parent(
        fitted.potential, gold_problem := problem_of(
            rattled(["Au"], 2, seed=3), [], reference_energies(["Au"]), SETTINGS
        )
    )  # fmt: skip
    assert gold is None
    with pytest.raises(TrainerError, match="is broken"):
        EsperTrainer(SETTINGS)._parent(tmp_path, gold_problem)


@pytest.mark.parametrize(
    ("way", "operator"),
    [
        ("channels", "random"),
        ("body_order", "random"),
        ("width", "random"),
        ("width", "gradmax"),
        ("width", "net2wider"),
    ],
)
def test_growth_preserves_energies_forces_and_stresses(
    fitted: FitResult, way: growth.Way, operator: str
) -> None:
    trainer = EsperTrainer(SETTINGS.model_copy(update={"esper_operator": operator}))
    problem = problem_of(TRAIN, VALIDATION, ALONE, trainer.settings)
    found = trainer._parent(fitted.potential, problem)
    assert found is not None
    model, size = found
    before = model.plain(), list(model.functions), model.parameter_count()
    rng = np.random.default_rng(3)
    grown, _ = carry_out(problem, model, size, way, trainer.settings, rng)
    assert grown.parameter_count() > before[2]
    results = []
    for networks, functions in ((before[0], before[1]), (grown.plain(), grown.functions)):
        whole = module.GrownModel(
            module.Descriptor(["Cu"], problem.cutoff_A, functions), networks, ALONE
        )
        results.append([module_evaluate(whole, atoms) for atoms in VALIDATION])
    for old, new in zip(*results, strict=True):
        for name in ("energy", "forces", "stress"):
            np.testing.assert_allclose(new[name], old[name], atol=1e-6, rtol=0)


def module_evaluate(model: module.GrownModel, atoms: Atoms) -> dict[str, object]:
    from rootstock.environments.esper_env import evaluate

    return evaluate(model, atoms)


def test_a_growth_that_would_change_the_function_is_refused(
    fitted: FitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = EsperTrainer(SETTINGS)
    problem = problem_of(TRAIN, VALIDATION, ALONE, trainer.settings)
    found = trainer._parent(fitted.potential, problem)
    assert found is not None
    model, size = found

    def careless(model: module.GrowingNetworks, *_: object) -> None:
        for network in model.networks():
            network.linear.data += 0.01

    monkeypatch.setattr(growth, "widen", careless)
    with pytest.raises(TrainerError, match="would change energy"):
        carry_out(problem, model, size, "width", SETTINGS, np.random.default_rng(0))


def test_a_grown_potential_is_better_and_has_new_active_sets(
    fitted: FitResult, tmp_path: Path
) -> None:
    grown = EsperTrainer(SETTINGS).grow(
        fitted.potential, TRAIN, VALIDATION, ALONE, tmp_path / "grown", np.random.default_rng(4)
    )
    told = grown.metrics["growth"]
    assert told["way"] in ("channels", "body_order")
    assert told["parameters"][1] == grown.metrics["parameters"] > told["parameters"][0]
    assert grown.metrics["validation"]["force_rmse"] < fitted.metrics["validation"]["force_rmse"]
    assert grown.metrics["active_set"]["Cu"]["functions"] == grown.metrics["functions"]["Cu"]
    assert grown.metrics["functions"]["Cu"] > fitted.metrics["functions"]["Cu"]
    assert grown.metrics["gamma_max_train"] == pytest.approx(1.0, abs=1e-2)


def test_growth_ends_where_the_settings_end_it(fitted: FitResult) -> None:
    settings = SETTINGS.model_copy(update={"esper_max_functions": 16, "esper_max_width": 4})
    trainer = EsperTrainer(settings)
    with pytest.raises(TrainerError, match="every width, channel and term"):
        trainer.grow(
            fitted.potential, TRAIN, VALIDATION, ALONE, Path("unused"), np.random.default_rng(0)
        )
    assert growth.larger(Size(4, 3), "channels") is None
    assert growth.larger(Size(4, 3), "body_order") is None


_KILLED = """
import sys, os
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
import emt_labels as emt
from pyacemaker.trainer.growing import training, trainer
from pyacemaker.trainer.settings import TrainerSettings
written = training._write
def write(path, *rest):
    written(path, *rest)
    if rest[-1][2] == {epoch}:
        os.kill(os.getpid(), 9)
training._write = write
original = trainer.train
trainer.train = lambda *a, **k: original(*a, **k, every_s=0.0)
trainer.EsperTrainer(TrainerSettings.model_validate_json({settings!r})).fit(
    emt.rattled(["Cu"], 24, seed=1), emt.rattled(["Cu"], 8, seed=2),
    emt.reference_energies(["Cu"]), Path(sys.argv[1]), np.random.default_rng(0))
"""


def test_a_fit_killed_in_the_middle_ends_with_the_same_bits(
    fitted: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outdir = tmp_path / "p"
    program = _KILLED.format(
        tests=str(Path(__file__).parents[1]), epoch=7, settings=SETTINGS.model_dump_json()
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(outdir)], capture_output=True, timeout=240, check=False
    )
    assert done.returncode == -9, done.stderr.decode()
    (left,) = tmp_path.glob(".p.training.safetensors")
    steps: list[int] = []
    step = module.train.__globals__["_step"]
    monkeypatch.setitem(
        module.train.__globals__, "_step", lambda *a: (steps.append(1), step(*a))[1]
    )
    again = EsperTrainer(SETTINGS).fit(TRAIN, VALIDATION, ALONE, outdir, np.random.default_rng(0))
    assert len(steps) == (SETTINGS.esper_epochs - 7) * 12
    assert not left.exists()
    ours, theirs = (load_file(f.potential / "network.safetensors") for f in (fitted, again))
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
    assert again.metrics["curves"] == fitted.metrics["curves"]


def test_a_damaged_file_is_named(fitted: FitResult, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "p"
    shutil.copytree(fitted.potential, copy)
    with (copy / "network.safetensors").open("r+b") as stream:
        stream.seek(200)
        stream.write(b"x")
    with pytest.raises(PotentialError, match=r"network\.safetensors is broken"):
        Potential.load(copy)
    with pytest.raises(RuntimeError, match=r"network\.safetensors is broken"):
        load_environment(FOLDER / "esper_env.py", str(copy), "cpu", {})


def test_lammps_is_refused_with_the_remedy(fitted: FitResult) -> None:
    with pytest.raises(PotentialError, match=r"publish it and run it by rootstock"):
        Potential.load(fitted.potential).lammps_commands(["Cu"], gamma=False)


def test_two_elements(tmp_path: Path) -> None:
    train = rattled(["Cu", "Au"], 16, seed=5)
    fit = EsperTrainer(SETTINGS.model_copy(update={"esper_epochs": 2})).fit(
        train, [], reference_energies(["Cu", "Au"]), tmp_path / "p", np.random.default_rng(0)
    )
    plan = json.loads((fit.potential / "network.json").read_text())
    assert plan["elements"] == ["Au", "Cu"]
    atoms = train[0].copy()
    atoms.calc = Potential.load(fit.potential).calculator()
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6
    )
    assert fit.metrics["curves"]["validation"] == []


def test_bad_labels_are_named(tmp_path: Path) -> None:
    trainer, rng = EsperTrainer(SETTINGS), np.random.default_rng(0)
    with pytest.raises(TrainerError, match="training set is empty"):
        trainer.fit([], [], ALONE, tmp_path / "p", rng)
    twins = TRAIN[0].copy()
    twins.positions[1] = twins.positions[0]
    twins.calc = TRAIN[0].calc
    with pytest.raises(TrainerError, match="lie on each other"):
        trainer.fit([twins], [], ALONE, tmp_path / "p", rng)


def test_without_torch_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyacemaker.trainer.growing import torch_needed

    monkeypatch.setattr(torch_needed, "find_spec", lambda name: None)
    with pytest.raises(TrainerError, match=r"torch and esper.*pip install 'pyacemaker\[esper\]'"):
        torch_needed.check_torch()
    probe = "import sys, pyacemaker.campaign.parts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False, timeout=120).returncode == 0
