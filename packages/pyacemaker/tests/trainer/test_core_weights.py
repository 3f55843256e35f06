"""Of an embedded cell the fit takes the forces of the core, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from pyace.basis import ACEBBasisSet

from pyacemaker.core_weight import CORE_WEIGHT
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import targets_of

sys.path.insert(0, str(Path(__file__).parent))
from emt_labels import rattled, reference_energies

SMALL = TrainerSettings(functions_per_element=30, cutoff_A=4.5, max_body_order=3)


def embedded(atoms: Atoms) -> Atoms:
    weights = np.zeros(len(atoms))
    weights[:3] = 1
    atoms.set_array(CORE_WEIGHT, weights)
    return atoms


def test_only_forces_of_the_core_have_weight() -> None:
    plain, cut = rattled(["Cu"], 2, 1)
    embedded(cut)
    energies = reference_energies(["Cu"])
    baseline = baseline_of(SMALL.baseline, ["Cu"])
    ordinary, core = targets_of([plain, cut], energies, baseline, SMALL)
    assert ordinary.energy_weight == 1
    assert ordinary.stress is not None
    assert (ordinary.force_weights > 0).all()
    assert core.energy_weight == 0
    assert core.stress is None
    assert (core.force_weights[:3] > 0).all()
    assert (core.force_weights[3:] == 0).all()


def test_wrong_numbers_of_the_buffer_do_not_change_the_fit(tmp_path: Path) -> None:
    def fitted(spoil: bool, name: str) -> np.ndarray:
        structures = rattled(["Cu"], 12, 3)
        for atoms in structures[8:]:
            embedded(atoms)
            if spoil:
                atoms.calc.results["energy"] += 30.0
                atoms.calc.results["stress"] = atoms.calc.results["stress"] + 5.0
                atoms.calc.results["forces"][3:] += 7.0
        result = LinearTrainer(SMALL).fit(
            structures, [], reference_energies(["Cu"]), tmp_path / name, np.random.default_rng(0)
        )
        basis = ACEBBasisSet(str(next(result.potential.glob("*.yaml"))))
        return np.array(basis.basis_coeffs)

    np.testing.assert_allclose(fitted(False, "a"), fitted(True, "b"), rtol=1e-6, atol=1e-9)


def test_the_active_set_sees_the_core_only() -> None:
    (atoms,) = rattled(["Cu"], 1, 1)
    projector = Projector(ACEBBasisSet(basis_configuration(["Cu"], SMALL)))
    whole = projector.projections(atoms)["Cu"]
    core = projector.projections(embedded(atoms))["Cu"]
    assert len(whole) == len(atoms)
    np.testing.assert_allclose(core, whole[:3])
    rows = projector.rows(atoms)
    np.testing.assert_allclose(rows.energy, whole.sum(axis=0))
    assert rows.virial is None
