from __future__ import annotations

import numpy as np

from pyacemaker.trainer.solve import solve_ridge


def problem(rows: int, size: int, noise: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, size)) * np.logspace(0, -6, size)
    truth = rng.normal(size=size) / np.logspace(0, -6, size)
    return matrix, matrix @ truth + noise * rng.normal(size=rows), truth


def test_noiseless_system_is_solved_whatever_the_scales():
    matrix, right, truth = problem(300, 40, 0.0)
    scale = 1.0 / np.sqrt(np.mean(matrix**2, axis=0))
    np.testing.assert_allclose(solve_ridge(matrix, right, scale, 0.0), truth, rtol=1e-8)


def test_ridge_is_the_stated_minimum():
    matrix, right, _ = problem(80, 30, 0.1)
    ridge, scale = 1e-3, 1.0 / np.sqrt(np.mean(matrix**2, axis=0))
    found = solve_ridge(matrix, right, scale, ridge)
    gradient = matrix.T @ (matrix @ found - right) + ridge * len(matrix) * found / scale**2
    assert np.abs(gradient * scale).max() < 1e-8 * np.abs(matrix.T @ right * scale).max()


def test_what_the_normal_equations_lose_is_kept():
    """Two columns alike to one part in 1e9: their squares differ by less than a double holds."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(50, 3))
    matrix[:, 2] = matrix[:, 1] + 1e-9 * rng.normal(size=50)
    right = matrix @ np.array([1.0, 2.0, 3.0])
    found = solve_ridge(matrix, right, np.ones(3), 0.0)
    np.testing.assert_allclose(matrix @ found, right, atol=1e-7)


def test_silent_functions_get_zero_and_more_functions_than_rows_is_fine():
    matrix, right, _ = problem(20, 50, 0.0)
    scale = 1.0 / np.sqrt(np.mean(matrix**2, axis=0))
    scale[7] = 0.0
    coefficients = solve_ridge(matrix, right, scale, 1e-8)
    assert coefficients[7] == 0.0
    assert np.isfinite(coefficients).all()
