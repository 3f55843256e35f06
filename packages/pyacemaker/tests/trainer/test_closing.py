from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pyace.basis import ACEBBasisSet

from pyacemaker.potential import Potential
from pyacemaker.trainer.baseline import ZblBaseline, baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.closing import close_short_range, hole_of, shortest_distances
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.short_range import ShortRangeCheck


def random_basis(elements, seed=0):
    basis = ACEBBasisSet(basis_configuration(elements, TrainerSettings(functions_per_element=30)))
    size = len(basis.basis_coeffs)
    basis.basis_coeffs = 20.0 * np.random.default_rng(seed).normal(size=size)
    return basis


@pytest.mark.parametrize("kind", ["zbl", "none"])
def test_every_pair_is_closed(emt, kind):
    basis, baseline = random_basis(["Au", "Cu"]), baseline_of(kind, ["Au", "Cu"])
    pairs = [("Au", "Au"), ("Au", "Cu"), ("Cu", "Cu")]
    assert any(hole_of(basis, baseline, pair) for pair in pairs)
    closed, done = close_short_range(basis, baseline, emt.rattled(["Au", "Cu"], 4, seed=1))
    assert done
    for name, about in done.items():
        assert hole_of(closed, baseline, tuple(name.split("-")), about["inner_cutoff_A"]) is None


def test_nothing_changes_where_there_are_data(emt):
    structures = emt.rattled(["Cu"], 4, seed=1)
    basis, baseline = random_basis(["Cu"]), ZblBaseline(())
    closed, done = close_short_range(basis, baseline, structures)
    assert (
        done["Cu-Cu"]["inner_cutoff_A"] < shortest_distances(structures, [("Cu", "Cu")])["Cu", "Cu"]
    )
    from pyacemaker.trainer.design import Projector

    for atoms in structures:
        before, after = (Projector(b).projections(atoms)["Cu"] for b in (basis, closed))
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)


def test_safe_pairs_are_left_alone(emt):
    basis = ACEBBasisSet(basis_configuration(["Cu"], TrainerSettings(functions_per_element=30)))
    closed, done = close_short_range(basis, baseline_of("zbl", ["Cu"]), emt.rattled(["Cu"], 1, 1))
    assert closed is basis and done == {}


@pytest.mark.parametrize("kind", ["zbl", "none"])
def test_a_fitted_potential_passes_the_gate(emt, tmp_path, kind):
    """Bulk data alone say nothing of short pairs; forces stay the energy's slope there."""
    settings = TrainerSettings(functions_per_element=60, baseline=kind)
    result = LinearTrainer(settings).fit(
        emt.rattled(["Cu"], 20, seed=1),
        [],
        emt.reference_energies(["Cu"]),
        tmp_path / "p",
        np.random.default_rng(0),
    )
    calculator = Potential.load(result.potential).calculator()
    verdict = ShortRangeCheck().run(calculator, bulk("Cu"), [])
    assert verdict.passed, verdict.reason
    for r in (0.8, 1.3, 1.7, 2.0):
        atoms = Atoms("Cu3", [[0, 0, 0], [0, 0, r], [0, 2.4, 0.3]])
        atoms.calc = calculator
        pull, energies = atoms.get_forces()[1, 2], []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[1, 2] += step
            moved.calc = calculator
            energies.append(moved.get_potential_energy())
        assert pull == pytest.approx(-(energies[0] - energies[1]) / 2e-4, rel=1e-4, abs=1e-4)
