"""How sure a linear fit is of its forces: the formula, and what it is worth on real fits."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pyacemaker.potential import Potential
from pyacemaker.potential.manifest import POSTERIOR, PotentialError
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.posterior import pointwise
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.test_error import TestErrorCheck

SETTINGS = TrainerSettings(functions_per_element=60, cutoff_A=5.0)


def fitted(emt, train, folder, elements=("Cu",), **changes):
    settings = SETTINGS.model_copy(update=changes)
    return LinearTrainer(settings).fit(
        train, [], emt.reference_energies(elements), folder / "potential", np.random.default_rng(0)
    )


@pytest.fixture(scope="module")
def train(emt):
    return emt.rattled(["Cu"], 40, seed=1, per_group=2)


@pytest.fixture(scope="module")
def fit(emt, train, tmp_path_factory):
    return fitted(emt, train, tmp_path_factory.mktemp("posterior"))


@pytest.fixture(scope="module")
def calculator(fit):
    return Potential.load(fit.potential).calculator()


def coverage(calculator, test):
    found = TestErrorCheck().run(calculator, test[0], test).series["uncertainty"]
    return [item["found"] for item in found["spread"]], found


def test_every_label_is_met_by_the_change_made_for_it():
    """The least such change: no other that makes the row exact is shorter in the metric."""
    rng = np.random.default_rng(0)
    matrix, right = rng.normal(size=(30, 5)), rng.normal(size=30)
    covariance = np.linalg.inv(matrix.T @ matrix + 0.1 * np.eye(5))
    solution = covariance @ matrix.T @ right
    changes = pointwise(matrix, right, solution, covariance)
    np.testing.assert_allclose(np.einsum("nf,nf->n", matrix, solution + changes), right, atol=1e-12)
    precision = np.linalg.inv(covariance)
    for row, change in zip(matrix[:5], changes[:5], strict=True):
        aside = rng.normal(size=5)
        aside -= row * (row @ aside) / (row @ row)
        other = change + 0.1 * aside
        assert other @ precision @ other > change @ precision @ change


@pytest.mark.parametrize(
    ("count", "functions", "elements"),
    [(16, 40, ("Cu",)), (40, 150, ("Cu",)), (60, 80, ("Au", "Cu"))],
)
def test_intervals_hold_what_they_say(emt, tmp_path, count, functions, elements):
    """On labels like those fitted, nearer ones, and ones displaced by half as much again."""
    train = emt.rattled(elements, count, seed=1, rattle_A=0.06, per_group=2)
    fit = fitted(emt, train, tmp_path, elements, functions_per_element=functions)
    calculator = Potential.load(fit.potential).calculator()
    for size, one, two in ((0.03, 0.25, 0.06), (0.06, 0.12, 0.06), (0.09, 0.2, 0.15)):
        held, found = coverage(calculator, emt.rattled(elements, 20, seed=2, rattle_A=size))
        assert held[1] == pytest.approx(0.68, abs=one)
        assert held[3] == pytest.approx(0.95, abs=two)
        assert 0.5 < found["spread_factor"] < 2.0
        for each in found["bins"]:
            assert 0.2 < each["predicted_rms_eV_per_A"] / each["error_rms_eV_per_A"] < 5.0


def test_the_spread_grows_outside(emt, calculator):
    near, far = (emt.rattled(["Cu"], 10, seed=3, rattle_A=size) for size in (0.08, 0.16))
    medians = [
        np.median([calculator.get_property("forces_std", atoms) for atoms in part])
        for part in (near, far)
    ]
    assert medians[1] > 2.0 * medians[0]


def test_it_is_computed_only_where_it_is_asked_for(emt, fit, calculator):
    atoms = emt.rattled(["Cu"], 1, seed=4)[0].copy()
    atoms.calc = calculator
    atoms.get_forces()
    assert "forces_std" not in calculator.results
    assert "forces_std" in calculator.implemented_properties
    std = calculator.get_property("forces_std", atoms)
    assert std.shape == (len(atoms), 3)
    assert std.min() > 0.0
    assert "forces_std" not in calculator.export_properties()


def test_of_a_ladders_rung(emt, tmp_path):
    train = emt.rattled(["Cu"], 24, seed=5, per_group=2)
    fit = fitted(emt, train, tmp_path, ladder="power-order", functions_per_element=200)
    assert sum(fit.metrics["functions"].values()) < 200
    potential = Potential.load(fit.potential)
    held, _ = coverage(potential.calculator(), emt.rattled(["Cu"], 20, seed=6))
    assert 0.5 < held[1] < 0.9


def test_without_groups_to_leave_out_there_is_none(emt, tmp_path):
    fit = fitted(emt, emt.rattled(["Cu"], 8, seed=7, per_group=4), tmp_path)
    potential = Potential.load(fit.potential)
    assert POSTERIOR not in potential.manifest.files
    assert "forces_std" not in potential.calculator().implemented_properties


def test_a_broken_posterior_is_named(fit, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(fit.potential, folder)
    (folder / POSTERIOR).write_bytes(b"half")
    with pytest.raises(PotentialError, match=r"posterior\.npz is broken"):
        Potential.load(folder)
