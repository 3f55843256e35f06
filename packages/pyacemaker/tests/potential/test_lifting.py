from __future__ import annotations

import numpy as np
import pytest
import yaml
from pyace.basis import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.evaluator import ACEBEvaluator

from pyacemaker.potential import Potential, PotentialError
from pyacemaker.potential.environment import atomic_environment
from pyacemaker.potential.lifting import lifted
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.settings import TrainerSettings


def evaluated(basis, atoms):
    evaluator = ACEBEvaluator(basis)
    calculator = ACECalculator()
    calculator.set_evaluator(evaluator)
    environment = atomic_environment(
        atoms, float(basis.cutoffmax), dict(basis.elements_to_index_map)
    )
    calculator.compute(environment, compute_projections=True)
    return calculator.energy, np.array(calculator.forces), calculator.projections


def test_a_potential_comes_back_function_by_function(alloy, alloy_sets):
    """The .yace alone gives the .yaml back: the same functions and the same coefficients."""
    potential = Potential.load(alloy.potential)
    found = lifted(potential.directory / "potential.yace")
    original = ACEBBasisSet(str(potential.directory / "potential.yaml"))
    assert found.reference_energies == pytest.approx(potential.manifest.reference_energies_eV)
    assert found.table_error == 0.0

    def named(basis):
        functions = [
            f
            for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
            for f in [*single, *many]
        ]
        return {
            (f.mu0, tuple(f.mus), tuple(f.ns), tuple(f.ls), tuple(f.LS)): c
            for f, c in zip(functions, basis.basis_coeffs, strict=True)
        }

    ours, theirs = named(found.basis), named(original)
    largest = max(map(abs, theirs.values()))
    for name in ours.keys() | theirs.keys():
        assert ours.get(name, 0.0) == pytest.approx(theirs.get(name, 0.0), abs=1e-8 * largest)
    for atoms in alloy_sets[1][:3]:
        (e, f, _), (e0, f0, _) = evaluated(found.basis, atoms), evaluated(original, atoms)
        assert e == pytest.approx(e0, abs=1e-7)
        np.testing.assert_allclose(f, f0, atol=1e-7)


def test_two_densities_and_high_body_orders(tmp_path, copper_sets):
    settings = TrainerSettings(functions_per_element=120, max_body_order=6, cutoff_A=4.5)
    basis = ACEBBasisSet(basis_configuration(["Cu"], settings, "finnis-sinclair"))
    rng = np.random.default_rng(0)
    basis.basis_coeffs = 1e-3 * rng.normal(size=len(basis.basis_coeffs))
    basis.to_ACECTildeBasisSet().save_yaml(str(tmp_path / "p.yace"))
    found = lifted(tmp_path / "p.yace")
    assert found.reference_energies is None
    for atoms in copper_sets[1][:3]:
        (e, f, _), (e0, f0, _) = evaluated(found.basis, atoms), evaluated(basis, atoms)
        assert e == pytest.approx(e0, abs=1e-8)
        np.testing.assert_allclose(f, f0, atol=1e-8)


def test_refusals_name_the_file_and_the_reason(copper, tmp_path):
    text = (copper.potential / "potential.yace").read_text()
    path = tmp_path / "p.yace"
    with pytest.raises(PotentialError, match=r"p\.yace cannot be read"):
        lifted(path)
    path.write_text("{[")
    with pytest.raises(PotentialError, match=r"p\.yace is not YAML"):
        lifted(path)
    path.write_text(yaml.safe_dump({"elements": ["Cu"]}))
    with pytest.raises(PotentialError, match="it has no bonds, embeddings, functions"):
        lifted(path)
    path.write_text(text.replace("SBessel", "ACE.jl.base"))
    with pytest.raises(PotentialError, match=r"radial basis ACE\.jl\.base is not known"):
        lifted(path)
    path.write_text(text[: len(text) // 2])
    with pytest.raises(PotentialError, match=r"p\.yace"):
        lifted(path)


def test_what_is_not_invariant_has_no_b_basis(copper, tmp_path):
    lines = (copper.potential / "potential.yace").read_text().splitlines(keepends=True)
    place = next(
        n for n, line in enumerate(lines) if "rank: 2" in line and "num_ms_combs: 2" in line
    )
    head, _, tail = lines[place].partition("ctildes: [")
    first, _, rest = tail.partition(",")
    lines[place] = f"{head}ctildes: [{float(first) + 1.0},{rest}"
    (tmp_path / "p.yace").write_text("".join(lines))
    with pytest.raises(PotentialError, match="no rotation-invariant function"):
        lifted(tmp_path / "p.yace")
