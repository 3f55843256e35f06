"""The Finnis-Sinclair fit: one real one, and everything about it that needs none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from pyace import PyACECalculator
from pyace.basis import ACEBBasisSet, BBasisConfiguration

from pyacemaker.parts.environments import Environment
from pyacemaker.parts.sources import PartError
from pyacemaker.potential.directory import Potential
from pyacemaker.trainer import finnis_sinclair
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.finnis_sinclair import FinnisSinclairTrainer, with_coefficients_of
from pyacemaker.trainer.finnis_sinclair_run import (
    START,
    iterations_of,
    kappa_of,
    run_pacemaker,
    write_input,
)
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import targets_of

OFFSET_EV = -1234.5  # as large as a pseudopotential's energies
E0 = {"Cu": OFFSET_EV + 3.6}
SMALL = TrainerSettings(
    fit="finnis-sinclair",
    cutoff_A=4.5,
    functions_per_element=20,
    max_body_order=3,
    fs_iterations=40,
)


def labelled(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy() + OFFSET_EV * len(atoms),
        "forces": atoms.get_forces(),
    }
    if atoms.cell.rank == 3:
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def copper(count: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(count):
        atoms = bulk("Cu", cubic=index % 2 == 0)
        if index % 2:
            atoms *= (2, 1, 1)
        strain = np.eye(3) + 0.03 * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.rattle(0.12, rng=rng)
        structures.append(labelled(atoms))
    return structures


def write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run_of(
    tmp_path: Path, pacemaker: str, settings: TrainerSettings = SMALL
) -> tuple[Path, Environment]:
    """A work directory ready to run, and an environment with this `pacemaker` (a script)."""
    environment = Environment(tmp_path / "environment")
    environment.python.parent.mkdir(parents=True)
    write_script(environment.python, f'exec {sys.executable} "$@"')
    write_script(environment.program("pacemaker"), pacemaker)
    train = copper(2, seed=1)
    workdir = tmp_path / "work"
    workdir.mkdir()
    targets = targets_of(train, E0, ZblBaseline(()), settings)
    write_input(workdir, train, targets, ["Cu"], settings, seed=7)
    return workdir, environment


@pytest.mark.real
def test_a_fit_beats_the_linear_one_on_the_labels_scale(tmp_path: Path) -> None:
    train, test = copper(12, seed=0), copper(4, seed=9)
    train.append(labelled(Atoms("Cu", cell=[12, 12, 12], pbc=True)))  # no neighbour
    said: list[str] = []
    result = FinnisSinclairTrainer(SMALL, said.append).fit(
        train, test, E0, tmp_path / "potential", np.random.default_rng(3)
    )

    # Better than predicting zero, better than where it started from.
    energies = [a.get_potential_energy() / len(a) - E0["Cu"] for a in test]
    forces = np.concatenate([a.get_forces().ravel() for a in test])
    errors = result.metrics["validation"]
    assert errors["energy_rmse"] < 0.05 * np.std(energies)
    assert errors["force_rmse"] < 0.35 * np.sqrt(np.mean(forces**2))
    linear = Potential.load(tmp_path / "potential.pacemaker" / "linear")
    history = result.metrics["history"]
    assert result.metrics["started_from"] == "a linear solution"
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["iteration"] <= SMALL.fs_iterations

    # On the labels' own scale, through the directory on disk, and truly non-linear.
    potential = Potential.load(result.potential)
    calculator = potential.calculator()
    for atoms in test:
        moved = atoms.copy()
        moved.calc = calculator
        error = (moved.get_potential_energy() - atoms.get_potential_energy()) / len(atoms)
        assert abs(error) < 0.05
    basis = BBasisConfiguration(str(potential.directory / "potential.yaml"))
    assert {len(f.coeffs) for b in basis.funcspecs_blocks for f in b.funcspecs} == {2}
    assert max(abs(f.coeffs[1]) for b in basis.funcspecs_blocks for f in b.funcspecs) > 1e-4
    assert "user" not in dict(basis.metadata)

    # Forces are the slope of the energy.
    probe = test[0].copy()
    probe.calc = calculator
    slope = []
    for step in (1e-4, -1e-4):
        probe.positions = test[0].positions
        probe.positions[1, 2] += step
        slope.append(probe.get_potential_energy())
    probe.positions = test[0].positions
    assert probe.get_forces()[1, 2] == pytest.approx(-(slope[0] - slope[1]) / 2e-4, abs=2e-5)

    # The active set: within what was trained on gamma is at most 1, far outside it is large.
    assert result.metrics["gamma_max_train"] <= 1.01
    outside = bulk("Cu", cubic=True)
    outside.rattle(0.6, seed=2)
    outside.calc = calculator
    outside.get_potential_energy()
    assert np.max(calculator.results["gamma"]) > 5

    assert any("iteration" in line and "meV/atom" in line for line in said)
    assert linear.manifest.fit["kind"] == "linear"
    assert potential.manifest.fit["kind"] == "finnis-sinclair"
    left = sorted(p.name for p in (tmp_path / "potential.pacemaker").iterdir())
    assert "pacemaker.log" in left
    assert not [name for name in left if "pckl" in name]

    # A larger basis begins where the smaller one ended, and its new functions are used.
    larger = SMALL.model_copy(update={"functions_per_element": 30, "fs_iterations": 4})
    extended = FinnisSinclairTrainer(larger).fit(
        train, test, E0, tmp_path / "larger", np.random.default_rng(3), potential.directory
    )
    assert extended.metrics["started_from"] == "the parent potential"
    assert extended.metrics["functions"] == {"Cu": 30}
    losses = [row["loss"] for row in extended.metrics["history"]]
    assert losses[0] == pytest.approx(history[-1]["loss"], rel=0.02)
    assert losses[-1] < losses[0]
    basis = BBasisConfiguration(str(extended.potential / "potential.yaml"))
    coefficients = [f.coeffs[0] for b in basis.funcspecs_blocks for f in b.funcspecs]
    assert np.count_nonzero(coefficients) == 30


def test_the_start_is_the_linear_potential_itself() -> None:
    linear = basis_configuration(["Al", "Cu"], SMALL, "linear")
    rng = np.random.default_rng(4)
    blocks = linear.funcspecs_blocks
    for block in blocks:
        block.set_func_coeffs(0.01 * rng.standard_normal(len(block.get_func_coeffs())))
    linear.funcspecs_blocks = blocks
    start = with_coefficients_of(
        basis_configuration(["Al", "Cu"], SMALL, "finnis-sinclair"), linear
    )
    assert start is not None
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[[0, 3]] = "Al"
    atoms.rattle(0.1, rng=rng)
    found = []
    for config in (linear, start):
        atoms.calc = PyACECalculator(ACEBBasisSet(config))
        found.append((atoms.get_potential_energy(), atoms.get_forces()))
    assert abs(found[0][0]) > 1e-3
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-10)
    assert np.allclose(found[1][1], found[0][1], atol=1e-9)


def test_a_parent_of_another_shape_is_not_a_start() -> None:
    wanted = basis_configuration(["Cu"], SMALL, "finnis-sinclair")
    same = with_coefficients_of(wanted, basis_configuration(["Cu"], SMALL, "finnis-sinclair"))
    assert same is not None
    for change in ({"cutoff_A": 5.0}, {"functions_per_element": 25}, {"max_body_order": 4}):
        other = basis_configuration(["Cu"], SMALL.model_copy(update=change), "finnis-sinclair")
        assert with_coefficients_of(wanted, other) is None
    assert with_coefficients_of(wanted, basis_configuration(["Al"], SMALL)) is None
    linear = basis_configuration(["Cu"], SMALL, "linear")
    assert with_coefficients_of(linear, wanted) is None  # a density would be lost


def test_a_rung_of_the_ladder_is_a_part_of_the_basis() -> None:
    larger = SMALL.model_copy(update={"functions_per_element": 80})
    full = basis_configuration(["Al", "Cu"], larger, "finnis-sinclair")
    linear = basis_configuration(["Al", "Cu"], larger, "linear")
    blocks = linear.funcspecs_blocks
    for block in blocks:
        block.funcspecs = [f for f in block.funcspecs if len(f.ns) == 1]
    linear.funcspecs_blocks = [block for block in blocks if block.funcspecs]
    pairs = finnis_sinclair._cut(full, linear)
    orders = {len(f.ns) for block in pairs.funcspecs_blocks for f in block.funcspecs}
    assert orders == {1}
    assert 0 < pairs.total_number_of_functions < full.total_number_of_functions
    ACEBBasisSet(pairs)  # pyace takes it
    assert with_coefficients_of(full, pairs) is None
    assert finnis_sinclair._start_for(full, pairs) is pairs
    assert finnis_sinclair._start_for(pairs, full) is None  # functions would be lost
    other = larger.model_copy(update={"cutoff_A": 5.0})
    other_full = basis_configuration(["Al", "Cu"], other, "finnis-sinclair")
    assert finnis_sinclair._start_for(other_full, pairs) is None
    assert finnis_sinclair._start_for(full, linear) is None  # one density of two


def test_the_first_fit_starts_from_the_potential_that_is_named(tmp_path: Path) -> None:
    named = basis_configuration(["Cu"], SMALL, "finnis-sinclair")
    blocks = named.funcspecs_blocks
    for block in blocks:
        block.set_func_coeffs(np.arange(1.0, 1.0 + len(block.get_func_coeffs())))
    named.funcspecs_blocks = blocks
    named.save(str(tmp_path / "known.yaml"))
    settings = SMALL.model_copy(update={"potential": str(tmp_path / "known.yaml")})
    rng = np.random.default_rng(0)
    wanted = basis_configuration(["Cu"], settings, "finnis-sinclair")
    found, name = FinnisSinclairTrainer(settings)._start(wanted, None, [], E0, tmp_path, rng, None)
    assert name == "known.yaml"
    assert np.allclose(sorted(found.get_func_coeffs()), sorted(named.get_func_coeffs()))
    other = basis_configuration(
        ["Cu"], SMALL.model_copy(update={"cutoff_A": 5.0}), "finnis-sinclair"
    )
    with pytest.raises(TrainerError, match=r"known\.yaml is not made of functions"):
        FinnisSinclairTrainer(settings)._start(other, None, [], E0, tmp_path, rng, None)


def test_kappa_gives_the_energies_their_share() -> None:
    train = copper(6, seed=2)
    targets = targets_of(train, E0, ZblBaseline(()), SMALL)
    kappa, ignorance = kappa_of(targets, 0.25)
    weights = np.array([t.weight**2 for t in targets])
    energies = np.array([t.energy / len(t.forces) for t in targets])
    energies -= np.average(energies, weights=weights)
    of_energies = (1 - kappa) * np.average(energies**2, weights=weights)
    of_forces = kappa * np.average(
        np.concatenate([(t.forces**2).sum(axis=1) for t in targets]),
        weights=np.concatenate([(t.weight * t.force_weights) ** 2 for t in targets]),
    )
    assert of_energies / (of_energies + of_forces) == pytest.approx(0.25)
    assert of_energies + of_forces == pytest.approx(ignorance)
    assert [kappa_of(targets, share)[0] for share in (0.0, 1.0)] == [1.0, 0.0]


def test_the_input_says_what_was_asked(tmp_path: Path) -> None:
    workdir, _ = run_of(tmp_path, "exit 0")
    content = yaml.safe_load((workdir / "input.yaml").read_text())
    assert content["backend"]["evaluator"] == "tensorpot"
    assert content["fit"]["maxiter"] == SMALL.fs_iterations
    assert content["seed"] == 7
    assert content["potential"] == START
    assert content["data"]["reference_energy"] == {"Cu": 0.0}
    train = copper(2, seed=1)
    targets = targets_of(train, E0, ZblBaseline(()), SMALL)
    write_input(workdir, train, targets, ["Cu"], SMALL, 7, extends=True)
    content = yaml.safe_load((workdir / "input.yaml").read_text())
    assert content["potential"] == {"filename": "target.yaml", "initial_potential": START}


@pytest.mark.parametrize(
    ("pacemaker", "message"),
    [
        (
            "echo 'Traceback (most recent call last):'; echo 'ValueError: too few apples'; exit 1",
            r"failed \(exit status 1\): ValueError: too few apples; see .*pacemaker\.log",
        ),
        ("echo Fitting; kill -9 $$", r"killed by SIGKILL\): Fitting"),
        ("exit 0", r"failed \(exit status 0\)"),  # and no potential
        (
            "echo 'RuntimeError: slow'; sleep 30",
            r"time limit of 1 s.*RuntimeError: slow.*timeout_s",
        ),
    ],
)
def test_a_fit_that_dies_says_why(tmp_path: Path, pacemaker: str, message: str) -> None:
    settings = SMALL.model_copy(update={"timeout_s": 1.0 if "sleep" in pacemaker else 60.0})
    workdir, environment = run_of(tmp_path, pacemaker)
    write_script(environment.python, "exit 0")  # pandas takes its time, and that is not meant
    with pytest.raises(TrainerError, match=message) as caught:
        run_pacemaker(workdir, environment, settings, lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    workdir, environment = run_of(tmp_path, "exit 0")
    (workdir / "train.json").write_text("[{}]")
    with pytest.raises(TrainerError, match=r"dataset could not be made.*KeyError: 'numbers'"):
        run_pacemaker(workdir, environment, SMALL, lambda _: None)


def test_the_table_of_iterations_is_read_while_it_is_written(tmp_path: Path) -> None:
    table = tmp_path / "metrics.txt"
    assert iterations_of(table) == ()
    header = "ladder_step cycle_step iter_num loss e_loss_contrib rmse_epa rmse_f_comp\n"
    table.write_text(header + "0 0 0 2.5 1.0 0.5 0.25\n0 0 1 1.5 1.0 0.1 0.2\n0 0 2 0.5 1")
    found = iterations_of(table)
    assert [i.number for i in found] == [0, 1]
    assert (found[1].loss, found[1].energy_rmse, found[1].force_rmse) == (1.5, 0.1, 0.2)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def no_environment(*_: object) -> Environment:
        raise PartError("there is no network")

    monkeypatch.setattr(finnis_sinclair, "tensorpot", no_environment)
    trainer = FinnisSinclairTrainer(SMALL)
    with pytest.raises(TrainerError, match=r"no network; or set trainer\.fit to linear"):
        trainer.fit(copper(2, 0), [], E0, tmp_path / "p", rng)
    with pytest.raises(TrainerError, match="training set is empty"):
        trainer.fit([], [], E0, tmp_path / "p", rng)
    with pytest.raises(TrainerError, match="no isolated-atom energy for Cu"):
        trainer.fit(copper(1, 0), [], {"Al": -1.0}, tmp_path / "p", rng)
    monkeypatch.setattr(finnis_sinclair, "tensorpot", lambda *_: Environment(tmp_path))
    lonely = [labelled(Atoms("Cu", cell=[12, 12, 12], pbc=True))]
    with pytest.raises(TrainerError, match="nothing to fit"):
        trainer.fit(lonely, [], E0, tmp_path / "p", rng)
    assert not (tmp_path / "p").exists()
