from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.regression import ENERGY_WEIGHTS, Equations, Functions, Regression

SIZE = 40


def functions(size: int = SIZE) -> Functions:
    return Functions(np.linspace(1.0, 12.0, size), np.repeat([1.0, 2.0], size // 2))


def labels(
    count: int, noise: float, smoothness: float = 1.0, seed: int = 0, offset: float = 0.0
) -> tuple[list[Equations], np.ndarray]:
    """Structures of four rows each, labelled by a model drawn from the prior itself."""
    rng = np.random.default_rng(seed)
    scales = np.logspace(0, -6, SIZE)
    truth = functions().prior(smoothness) * rng.normal(size=SIZE) / scales
    equations = []
    for _ in range(count):
        rows = rng.normal(size=(5, SIZE)) * scales
        right = rows @ truth + noise * rng.normal(size=5)
        equations.append(
            Equations(rows[0], float(right[0]) + offset, rows[1:], right[1:], np.ones(1))
        )
    return equations, truth


def groups(count: int, each: int = 5) -> list[str]:
    return [f"g{n // each}" for n in range(count)]


def reference_evidence(equations, scale, ridge, weight):
    """The multivariate normal's own log density, its noise maximised on a fine grid."""
    rows = np.vstack([np.vstack([weight * e.energy, e.rest]) for e in equations])
    right = np.concatenate([np.append(weight * e.energy_label, e.rest_label) for e in equations])
    covariance = np.eye(len(rows)) + (rows * scale**2) @ rows.T / (ridge * len(rows))
    _, logdet = np.linalg.slogdet(covariance)
    misfit = right @ np.linalg.solve(covariance, right)
    variance = misfit / len(rows)
    return (
        -0.5 * len(rows) * (np.log(variance) + 1.0) - 0.5 * logdet + len(equations) * np.log(weight)
    )


def test_evidence_is_that_of_the_normal_distribution_it_stands_for():
    equations, _ = labels(12, 0.1)
    regression = Regression(equations, functions(), groups(12))
    rest = np.vstack([e.rest for e in equations])
    inverse = 1.0 / np.sqrt(np.mean(rest**2, axis=0))
    known, stated = [], []
    for weight, power, ridge in ((1.0, 1.0, 1e-3), (3.0, 0.5, 1e-5), (0.3, 2.0, 1e-2)):
        choice = regression.choose("evidence", weight, power, ridge)
        stated.append(regression.log_evidence(choice))
        scale = inverse * functions().prior(power)
        known.append(reference_evidence(equations, scale, ridge, weight))
    np.testing.assert_allclose(np.diff(stated), np.diff(known), rtol=1e-8)


@pytest.mark.parametrize("method", ["evidence", "cross-validation"])
def test_ridge_grows_with_noise_and_beats_none_on_new_data(method):
    equations, truth = labels(20, 2.0)
    regression = Regression(equations, functions(), groups(20))
    choice = regression.choose(method, 1.0)
    quiet = Regression(labels(20, 1e-4)[0], functions(), groups(20)).choose(method, 1.0)
    assert choice.ridge > 100 * quiet.ridge
    fresh = np.vstack([e.rest for e in labels(200, 0.0, seed=1)[0]])
    none = regression.choose(method, 1.0, 1.0, 1e-14)
    wrong = [
        np.linalg.norm(fresh @ (regression.fit(c).coefficients - truth)) for c in (choice, none)
    ]
    assert wrong[0] < 0.85 * wrong[1]
    assert method in choice.chosen_by


@pytest.mark.parametrize("true_power", [0.5, 3.0])
def test_smoothness_of_the_labels_is_found(true_power):
    equations, _ = labels(60, 1e-4, smoothness=true_power)
    found = Regression(equations, functions(), groups(60)).choose("evidence", 1.0).smoothness
    assert abs(found - true_power) <= 0.5


def test_one_family_beyond_prediction_does_not_decide():
    """A dimer scan is unlike all else: leaving it out says nothing about the ridge."""
    equations, _ = labels(60, 1e-3)
    odd = 1e3 * np.random.default_rng(5).normal(size=(5, SIZE)) * np.logspace(0, -6, SIZE)
    odd[:, : SIZE - 8] = 0.0
    strange = Equations(odd[0], 300.0, odd[1:], np.full(4, 300.0), np.ones(1))
    regression = Regression([*equations, strange], functions(), [*groups(60), "odd"])
    assert regression.choose("cross-validation", 1.0).ridge < 1e-5


def test_elements_energies_are_found_where_no_isolated_atom_is_known():
    equations, truth = labels(60, 0.0, offset=-1234.5)
    regression = Regression(equations, functions(), groups(60), free_offsets=True)
    for method in ("evidence", "cross-validation"):
        fitted = regression.fit(regression.choose(method, "auto"))
        assert fitted.offsets[0] == pytest.approx(-1234.5, abs=1e-3)
        fresh = np.vstack([e.rest for e in labels(20, 0.0, seed=4)[0]])
        expected = fresh @ truth
        np.testing.assert_allclose(
            fresh @ fitted.coefficients, expected, atol=1e-2 * np.std(expected)
        )


def test_energy_weight_is_always_found_by_leaving_out():
    """Evidence would weigh energies by their noise alone, which costs twice the error."""
    equations, _ = labels(60, 1e-2)
    regression = Regression(equations, functions(), groups(60))
    choice = regression.choose("evidence", "auto")
    assert choice.energy_weight in ENERGY_WEIGHTS
    assert choice.chosen_by == "evidence, the energy weight by cross-validation"


def test_functions_left_out_get_zero_and_a_useless_one_lowers_the_evidence():
    equations, _ = labels(60, 1e-2)
    regression = Regression(equations, functions(), groups(60))
    choice = regression.choose("evidence", 1.0)
    few = np.arange(10)
    assert np.count_nonzero(regression.fit(choice, few).coefficients) == 10
    everything = regression.log_evidence(regression.best_ridge(choice, np.arange(SIZE)))
    assert everything > regression.log_evidence(regression.best_ridge(choice, few), few)


def test_few_groups_fall_back_and_say_so():
    equations, _ = labels(10, 0.1)
    regression = Regression(equations, functions(), ["one"] * 10)
    assert regression.choose("cross-validation").chosen_by == "evidence"


def test_same_input_same_bits():
    equations, _ = labels(30, 0.2)
    first, second = (
        (r := Regression(equations, functions(), groups(30))).fit(r.choose("evidence")).coefficients
        for _ in range(2)
    )
    assert (first == second).all()


def test_nothing_to_fit():
    nothing = Equations(np.zeros(SIZE), 0.0, np.zeros((3, SIZE)), np.zeros(3), np.ones(1))
    with pytest.raises(TrainerError, match="nothing to fit"):
        Regression([nothing], functions(), ["a"])


def test_errors_left_out_are_judged_in_the_units_that_the_equations_name():
    equations, _ = labels(30, 0.1)
    halved = [
        Equations(e.energy / 2, e.energy_label / 2, e.rest / 2, e.rest_label / 2, e.composition)
        for e in equations
    ]
    named = [replace(e, energy_unit=0.5, rest_unit=np.full(4, 0.5)) for e in halved]
    whole, half, same = (
        Regression(some, functions(), groups(30)).choose("cross-validation", 2.0, 1.0, "auto")
        for some in (equations, halved, named)
    )
    assert half.energy_mae == pytest.approx(whole.energy_mae / 2)
    assert half.rest_mae == pytest.approx(whole.rest_mae / 2)
    assert same.energy_mae == pytest.approx(whole.energy_mae)
    assert same.rest_mae == pytest.approx(whole.rest_mae)
    assert same.score == pytest.approx(whole.score)
