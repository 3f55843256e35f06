from __future__ import annotations

import numpy as np
import pytest

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.solve import solve


def problem(rows: int, size: int, noise: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, size)) * np.logspace(0, -6, size)
    truth = rng.normal(size=size) / np.logspace(0, -6, size)
    right = matrix @ truth + noise * rng.normal(size=rows)
    return matrix, right, truth, [f"g{n // 10}" for n in range(rows)]


def test_noiseless_system_is_solved_whatever_the_scales():
    matrix, right, truth, groups = problem(300, 40, 0.0)
    solution = solve(matrix, right, groups, 0.0)
    np.testing.assert_allclose(solution.coefficients, truth, rtol=1e-8)
    auto = solve(matrix, right, groups, "auto").coefficients
    np.testing.assert_allclose(matrix @ auto, right, atol=1e-3 * np.abs(right).max())


def test_ridge_grows_with_noise_and_beats_none_on_new_data():
    matrix, right, truth, groups = problem(120, 90, 3.0)
    fresh, _, _, _ = problem(500, 90, 0.0, seed=1)
    auto = solve(matrix, right, groups, "auto")
    none = solve(matrix, right, groups, 0.0)
    error = [np.linalg.norm(fresh @ (s.coefficients - truth)) for s in (auto, none)]
    assert auto.ridge >= 1e-3
    assert error[0] < 0.9 * error[1]
    assert "cross-validation" in auto.chosen_by


def test_ridge_is_the_stated_minimum():
    matrix, right, _, groups = problem(80, 30, 0.1)
    ridge = 1e-3
    found = solve(matrix, right, groups, ridge).coefficients
    scale = 1.0 / np.sqrt(np.mean(matrix**2, axis=0))
    gradient = matrix.T @ (matrix @ found - right) + ridge * len(matrix) * found / scale**2
    assert np.abs(gradient * scale).max() < 1e-8 * np.abs(matrix.T @ right * scale).max()


def test_one_family_beyond_prediction_does_not_decide():
    """A dimer scan is unlike all else: leaving it out says nothing about the ridge."""
    matrix, right, _, groups = problem(300, 40, 1e-3)
    odd = np.zeros((6, 40))
    odd[:, -8:] = 1e3 * np.random.default_rng(5).normal(size=(6, 8)) * np.logspace(0, -6, 40)[-8:]
    with_odd = solve(
        np.vstack([matrix, odd]),
        np.concatenate([right, np.full(6, 300.0)]),
        [*groups, *["odd"] * 6],
        "auto",
    )
    assert with_odd.ridge < 1e-5


def test_silent_functions_get_zero_and_more_functions_than_rows_is_fine():
    matrix, right, _, groups = problem(20, 50, 0.0)
    matrix[:, 7] = 0.0
    coefficients = solve(matrix, right, groups, "auto").coefficients
    assert coefficients[7] == 0.0
    assert np.isfinite(coefficients).all()


def test_few_groups_fall_back_and_say_so():
    matrix, right, _, _ = problem(40, 5, 0.1)
    assert "too few groups" in solve(matrix, right, ["one"] * 40, "auto").chosen_by


def test_same_input_same_bits():
    matrix, right, _, groups = problem(120, 30, 0.2)
    first, second = (solve(matrix, right, groups, "auto").coefficients for _ in range(2))
    assert (first == second).all()


def test_nothing_to_fit():
    with pytest.raises(TrainerError, match="nothing to fit"):
        solve(np.zeros((3, 4)), np.zeros(3), ["a"] * 3, "auto")
