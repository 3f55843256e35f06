from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.potential import Potential
from pyacemaker.provenance import tag
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings


def fit(emt, train, validation, outdir, elements=("Cu",), **settings):
    return LinearTrainer(TrainerSettings(functions_per_element=30, **settings)).fit(
        train, validation, emt.reference_energies(elements), outdir, np.random.default_rng(0)
    )


def test_copper_is_learned(copper):
    validation = copper.metrics["validation"]
    assert validation["energy_rmse"] < 0.005
    assert validation["force_rmse"] < 0.05
    assert validation["stress_rmse"] < 0.5
    assert copper.metrics["gamma_max_train"] <= 1.0011
    assert copper.metrics["active_set"]["Cu"]["functions"] == 150
    json.dumps(copper.metrics)


def test_alloy_is_learned(alloy):
    validation = alloy.metrics["validation"]
    assert validation["energy_rmse"] < 0.005
    assert validation["force_rmse"] < 0.05
    assert alloy.metrics["gamma_max_train"] <= 1.0011


def test_metrics_are_those_of_the_calculator(copper, copper_sets):
    calculator = Potential.load(copper.potential).calculator()
    wrong = []
    for labelled in copper_sets[1]:
        atoms = labelled.copy()
        atoms.calc = calculator
        wrong.append((atoms.get_potential_energy() - labelled.get_potential_energy()) / len(atoms))
    assert copper.metrics["validation"]["energy_rmse"] == pytest.approx(
        np.sqrt(np.mean(np.square(wrong))), rel=1e-9
    )


def test_physics_of_copper(copper):
    """Lattice constant and bulk modulus as EMT has them, which the fit never saw as such."""
    from ase.calculators.emt import EMT

    lattices = np.linspace(3.5, 3.7, 9)

    def curve(calculator):
        energies = []
        for a in lattices:
            atoms = bulk("Cu", a=a)
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy())
        c = np.polyfit(lattices, energies, 3)
        minimum = max(np.roots(np.polyder(c)), key=lambda x: np.polyval(np.polyder(c, 2), x))
        return minimum, np.polyval(np.polyder(c, 2), minimum)

    ours, theirs = curve(Potential.load(copper.potential).calculator()), curve(EMT())
    assert ours[0] == pytest.approx(theirs[0], abs=0.005)
    assert ours[1] == pytest.approx(theirs[1], rel=0.05)


def test_stress_rows_teach_stress(emt, tmp_path):
    train, validation = emt.rattled(["Cu"], 8, seed=1), emt.rattled(["Cu"], 6, seed=2)
    with_stress = fit(emt, train, validation, tmp_path / "with", stress_weight=1.0)
    without = fit(emt, train, validation, tmp_path / "without", stress_weight=0.0)
    assert (
        with_stress.metrics["train"]["stress_rmse"] < 0.8 * without.metrics["train"]["stress_rmse"]
    )


def test_same_input_same_files(emt, tmp_path):
    train = emt.rattled(["Cu"], 6, seed=1)
    first, second = (fit(emt, train, [], tmp_path / name) for name in "ab")
    names = ("potential.yaml", "potential.asi", "potential.yace")
    files = [Potential.load(r.potential).manifest.files for r in (first, second)]
    assert all(files[0][n] == files[1][n] for n in names)
    assert first.metrics["validation"]["energy_rmse"] is None


def test_two_structures_are_enough_to_begin(emt, tmp_path):
    result = fit(emt, emt.rattled(["Cu"], 2, seed=1), [], tmp_path / "p")
    assert result.metrics["gamma_max_train"] <= 1.0011
    calculator = Potential.load(result.potential).calculator()
    strange = bulk("Cu", a=3.0)
    strange.calc = calculator
    assert np.isfinite(strange.get_potential_energy())
    assert calculator.results["gamma"].max() > 10


def test_short_pairs_and_isolated_atoms_are_welcome(emt, tmp_path):
    dimers = [
        tag(emt.labelled(Atoms("Cu2", [[0, 0, 0], [0, 0, r]])), "dimer", "dimer-Cu-Cu")
        for r in (1.4, 1.8, 2.2, 3.0)
    ]
    alone = tag(emt.labelled(Atoms("Cu")), "isolated", "isolated-Cu")
    bulk_only = fit(
        emt, emt.rattled(["Cu"], 16, seed=1), emt.rattled(["Cu"], 8, seed=2), tmp_path / "b"
    )
    both = fit(
        emt,
        [*emt.rattled(["Cu"], 16, seed=1), *dimers, alone],
        emt.rattled(["Cu"], 8, seed=2),
        tmp_path / "d",
    )
    calculator = Potential.load(both.potential).calculator()
    atoms = Atoms("Cu")
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(
        emt.reference_energies(["Cu"])["Cu"], abs=1e-9
    )
    # The crystal is still learned, far better than the dimers' eV.
    assert bulk_only.metrics["validation"]["energy_rmse"] < 0.002
    assert both.metrics["validation"]["energy_rmse"] < 0.005


def test_no_baseline(emt, tmp_path):
    result = fit(emt, emt.rattled(["Cu"], 4, seed=1), [], tmp_path / "p", baseline="none")
    assert Potential.load(result.potential).manifest.baseline == {"kind": "none"}


def test_refusals_name_the_structure(emt, tmp_path):
    good = emt.rattled(["Cu"], 2, seed=1)
    bare = good[0].copy()
    with pytest.raises(TrainerError, match=r"structure 1 \(Cu8, rattle-1-0\) carries no energy"):
        fit(emt, [good[1], bare], [], tmp_path / "p")
    broken = good[0].copy()
    forces = np.full((8, 3), np.nan)
    broken.calc = SinglePointCalculator(broken, energy=1.0, forces=forces)
    with pytest.raises(TrainerError, match="not finite"):
        fit(emt, [broken], [], tmp_path / "p")
    with pytest.raises(TrainerError, match="no isolated-atom energy for Au"):
        fit(emt, emt.rattled(["Cu", "Au"], 1, seed=1), [], tmp_path / "p")
    with pytest.raises(TrainerError, match="training set is empty"):
        fit(emt, [], [], tmp_path / "p")
    alone = tag(emt.labelled(Atoms("Cu")), "isolated", "isolated-Cu")
    with pytest.raises(TrainerError, match="nothing to fit"):
        fit(emt, [alone], [], tmp_path / "p")
    assert not (tmp_path / "p").exists()
