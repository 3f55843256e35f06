import numpy as np

from pyacemaker.report.thinning import errors, evenly, keep_peaks, pairs, worst_and_even


def test_worst_errors_and_both_ends_always_stay() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=20_000)
    y = x + 0.01 * rng.normal(size=x.size)
    y[777] += 3.0
    kept = worst_and_even(x, y, 500)
    assert kept.size <= 500
    assert 777 in kept
    assert np.unique(kept).size == kept.size
    others = np.delete(x, np.argsort(-np.abs(y - x))[:125])
    assert x[kept].min() <= others.min()
    assert x[kept].max() >= others.max()


def test_peaks_of_a_trace_stay() -> None:
    trace = np.ones(10_000)
    trace[4321] = 9.0
    trace[-1] = 5.5
    kept = keep_peaks(trace, 100)
    assert kept.size <= 100
    assert {0, 4321, 9_999} <= set(kept.tolist())


def test_pairs_drop_what_is_missing() -> None:
    x, y = pairs([1.0, None, 3.0, 4.0], [1.5, 2.0, None])
    assert (x.tolist(), y.tolist()) == ([1.0], [1.5])


def test_errors() -> None:
    rmse, mae, largest = errors(np.array([0.0, 0.0]), np.array([3.0, -4.0]))
    assert rmse == np.sqrt(12.5)
    assert (mae, largest) == (3.5, 4.0)
    assert errors(np.array([]), np.array([])) == (None, None, None)


def test_evenly() -> None:
    assert evenly(3, 10) == [0, 1, 2]
    picked = evenly(1000, 10)
    assert (len(picked), picked[0], picked[-1]) == (10, 0, 999)
