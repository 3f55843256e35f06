"""Terms of two reaches in one basis: each is the term of its own basis, and LAMMPS runs the sum."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pyace.basis import ACEBBasisSet
from pyace.multispecies_basisextension import create_multispecies_basis_config
from pydantic import ValidationError

from pyacemaker.potential import Potential
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.basis import basis_configuration, potential_config, two_reaches
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.equations import functions_of
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings

NEAR_A, FAR_A = 4.0, 6.0


def settings(far: float | None = FAR_A, functions: int = 100, **others) -> TrainerSettings:
    return TrainerSettings(
        cutoff_A=NEAR_A, far_cutoff_A=far, functions_per_element=functions, **others
    )


def crystal(elements: tuple[str, ...]) -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.7, cubic=True) * (2, 1, 1)
    atoms.symbols[:] = (list(elements) * 8)[: len(atoms)]
    atoms.rattle(0.1, seed=1)
    return atoms


def specs_of(basis: ACEBBasisSet) -> list[tuple]:
    return [
        (f.mu0, *map(tuple, (f.mus, f.ns, f.ls, f.LS)))
        for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
        for f in [*single, *many]
    ]


@pytest.mark.parametrize("elements", [("Cu",), ("Au", "Cu")])
def test_each_term_is_that_of_its_own_basis(elements):
    both = ACEBBasisSet(basis_configuration(elements, settings()))
    near, far = (
        ACEBBasisSet(create_multispecies_basis_config(config))
        for config in two_reaches(potential_config(elements, settings()), FAR_A)
    )
    assert both.cutoffmax == FAR_A
    assert near.cutoffmax == NEAR_A
    shift = max(block.nradmaxi for block in near.to_BBasisConfiguration().funcspecs_blocks)
    atoms = crystal(elements)
    rows = {basis: Projector(basis).rows(atoms) for basis in (both, near, far)}
    column = {spec: n for n, spec in enumerate(specs_of(both))}
    seen = 0
    for basis, moved, tolerance in ((near, 0, 0.08), (far, shift, 1e-7)):
        for n, (mu0, mus, ns, ls, LS) in enumerate(specs_of(basis)):
            if len(ns) == 1 and basis is near:
                continue
            index = tuple(k + moved for k in ns) if len(ns) > 1 else ns
            mine = column[mu0, mus, index, ls, LS]
            ours, theirs = rows[both].forces[..., mine], rows[basis].forces[..., n]
            assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs) + 1e-9
            seen += 1
    assert seen == len(column)


def test_no_more_functions_than_were_asked_for():
    basis = ACEBBasisSet(basis_configuration(["Cu"], settings(functions=200)))
    orders = functions_of(basis).order
    assert 180 <= len(orders) <= 200
    assert set(orders) >= {1.0, 2.0, 3.0}


def test_a_far_atom_is_felt_by_pairs_and_triples_alone():
    projector = Projector(ACEBBasisSet(basis_configuration(["Cu"], settings())))
    order = functions_of(projector.basis).order
    atoms = Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [0, 2.4, 0], [0, 0, 5.0]])
    rows = projector.rows(atoms)
    pull = np.abs(rows.forces[3]).max(axis=0) / np.abs(rows.forces).max(axis=(0, 1))
    assert (pull[order == 1] > 1e-6).any()
    assert (pull[order == 2] > 1e-2).any()
    assert np.nanmax(pull[order > 2]) < 5e-3


def test_alloy_is_learned_and_its_forces_are_derivatives(emt, tmp_path):
    train, validation = (emt.rattled(["Au", "Cu"], n, seed=n) for n in (24, 6))
    result = LinearTrainer(settings()).fit(
        train,
        validation,
        emt.reference_energies(["Au", "Cu"]),
        tmp_path / "potential",
        np.random.default_rng(0),
    )
    assert result.metrics["validation"]["energy_rmse"] < 0.005
    assert result.metrics["validation"]["force_rmse"] < 0.1
    atoms = validation[0].copy()
    atoms.calc = Potential.load(result.potential).calculator()
    force, step = atoms.get_forces()[0, 1], 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 1] += sign * step
        moved.calc = atoms.calc
        energies.append(moved.get_potential_energy())
    assert force == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-5)


def test_rows_of_another_reach_are_others(tmp_path):
    atoms, cache = crystal(("Cu",)), RowCache(1, tmp_path)
    for far in (None, FAR_A, FAR_A + 0.5):
        assert len(cache.rows(["Cu"], settings(far), [atoms])[1]) == 1
        assert cache.computed == 1
    RowCache(1, tmp_path).rows(["Cu"], settings(FAR_A), [atoms])
    assert len(list(tmp_path.iterdir())) == 3


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValidationError, match="must be longer than cutoff_A"):
        settings(far=3.5)
    with pytest.raises(ValidationError, match="far_cutoff_A needs backend pacemaker"):
        settings(fit="finnis-sinclair")
    with pytest.raises(TrainerError, match=r"far_cutoff_A: 3\.5 A is not longer"):
        basis_configuration(["Cu"], TrainerSettings(far_cutoff_A=3.5))
