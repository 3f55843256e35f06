from __future__ import annotations

import numpy as np
import pytest

from pyacemaker.trainer.hull import energies_above_hull


def test_one_element_counts_from_the_lowest():
    energies = np.array([-3.0, -2.5, -3.2])
    np.testing.assert_allclose(
        energies_above_hull(np.ones((3, 1)), energies, [0, 1, 2]), [0.2, 0.7, 0.0]
    )


def test_a_compound_makes_the_mixture_of_its_neighbours_unstable():
    # A, B, AB on the hull; A3B above the line from A to AB; another AB above the first.
    shares = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.75, 0.25], [0.5, 0.5]])
    energies = np.array([-1.0, -2.0, -3.0, -1.5, -2.9])
    found = energies_above_hull(shares, energies, range(5))
    np.testing.assert_allclose(found, [0, 0, 0, 0.5, 0.1], atol=1e-9)


def test_three_elements_against_pymatgen():
    diagram = pytest.importorskip("pymatgen.analysis.phase_diagram")
    from pymatgen.core import Composition

    rng = np.random.default_rng(0)
    counts = np.vstack([np.eye(3, dtype=int), rng.integers(0, 4, size=(12, 3))])
    counts = counts[counts.sum(axis=1) > 0]
    per_atom = np.append(np.zeros(3), rng.normal(-0.2, 0.3, size=len(counts) - 3))
    entries = [
        diagram.PDEntry(
            Composition({e: int(n) for e, n in zip(("Al", "Ni", "Ti"), row, strict=True) if n}),
            energy * row.sum(),
        )
        for row, energy in zip(counts, per_atom, strict=True)
    ]
    hull = diagram.PhaseDiagram(entries)
    known = [hull.get_e_above_hull(entry) for entry in entries]
    shares = counts / counts.sum(axis=1, keepdims=True)
    found = energies_above_hull(shares, per_atom, range(len(counts)))
    np.testing.assert_allclose(found, known, atol=1e-8)


def test_a_composition_beyond_all_known_is_held_against_the_nearest():
    shares = np.array([[0.5, 0.5], [0.6, 0.4], [1.0, 0.0]])
    found = energies_above_hull(shares, np.array([-3.0, -2.0, -1.5]), [0, 1])
    assert found[2] == pytest.approx(0.5)
    assert (energies_above_hull(shares, np.zeros(3), []) == 0.0).all()
