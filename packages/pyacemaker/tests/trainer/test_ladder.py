from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from pyace.basis import ACEBBasisSet

from pyacemaker.potential import Potential
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.equations import functions_of
from pyacemaker.trainer.ladder import WORTH, bounds_of, reduced
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings

SETTINGS = TrainerSettings(functions_per_element=60)


@pytest.mark.parametrize("kind", ["body-order", "power-order"])
def test_rungs_hold_one_another_and_the_last_holds_all(kind):
    functions = functions_of(ACEBBasisSet(basis_configuration(["Cu"], SETTINGS)))
    rungs = [set(columns) for _, columns in bounds_of(functions, kind)]
    assert len(rungs) >= 3
    assert all(a < b for a, b in pairwise(rungs))
    assert rungs[-1] == set(range(60))


def test_a_reduced_basis_has_the_same_functions(emt):
    """Their values, forces and virials are columns of the whole basis's."""
    whole = ACEBBasisSet(basis_configuration(["Au", "Cu"], SETTINGS))
    columns = np.flatnonzero(functions_of(whole).complexity <= 4)
    part = reduced(whole, columns)
    assert 0 < len(columns) < len(whole.basis_coeffs)
    (atoms,) = emt.rattled(["Cu", "Au"], 1, seed=1)
    ours, theirs = Projector(part).rows(atoms), Projector(whole).rows(atoms)
    np.testing.assert_allclose(ours.energy, theirs.energy[columns], atol=1e-10)
    np.testing.assert_allclose(ours.forces, theirs.forces[..., columns], atol=1e-10)
    np.testing.assert_allclose(ours.virial, theirs.virial[:, columns], atol=1e-10)


def test_the_basis_grows_with_the_labels_and_is_whole_in_the_potential(emt, tmp_path):
    trainer = LinearTrainer(
        TrainerSettings(functions_per_element=100, ladder="power-order", choose_by="evidence")
    )
    reference = emt.reference_energies(["Cu", "Au"])
    validation = emt.rattled(["Cu", "Au"], 6, seed=9)
    sizes = []
    for count in (2, 30):
        result = trainer.fit(
            emt.rattled(["Cu", "Au"], count, seed=1),
            validation,
            reference,
            tmp_path / str(count),
            np.random.default_rng(0),
        )
        sizes.append(sum(result.metrics["functions"].values()))
        best = max(
            result.metrics["ladder"], key=lambda r: r["log_evidence"] - WORTH * r["functions"]
        )
        assert best["functions"] == sizes[-1]
        assert result.metrics["gamma_max_train"] <= 1.0011
        basis = ACEBBasisSet(str(Potential.load(result.potential).directory / "potential.yaml"))
        assert len(basis.basis_coeffs) == sizes[-1]
    assert sizes[0] < sizes[1], result.metrics["ladder"]
    assert result.metrics["validation"]["force_rmse"] < 0.08
