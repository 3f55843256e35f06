"""Physics checks against EMT, whose forces and stresses are exact derivatives."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from pyacemaker.data.checks import (
    check_labels,
    check_one,
    energy_outliers,
    robust_fit,
    stress_findings,
    stress_pairs,
)
from pyacemaker.oracle.base import Label

SETTINGS = {"code": "ase", "calculator": "EMT"}


def emt(atoms: Atoms, **wrong: object) -> Label:
    work = atoms.copy()
    work.calc = EMT()
    results = {
        "energy": work.get_potential_energy(),
        "forces": work.get_forces(),
        "stress": work.get_stress(),
        **wrong,
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return Label(atoms, SETTINGS)


def volumes(factor: float = 1.0) -> dict[str, Label]:
    """Copper at seven volumes; the stress multiplied by `factor`."""
    found = {}
    for n, scale in enumerate(np.linspace(0.96, 1.04, 7)):
        atoms = bulk("Cu", a=3.6 * scale)
        label = emt(atoms)
        label.atoms.calc.results["stress"] = factor * label.atoms.calc.results["stress"]
        found[f"v{n}"] = label
    return found


def rattled(count: int) -> dict[str, Label]:
    found = {}
    for n in range(count):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.symbols[: n % 5] = "Au"
        atoms.set_cell(atoms.cell.array * (1 + 0.01 * (n % 5)), scale_atoms=True)
        atoms.rattle(0.08, rng=np.random.default_rng(n))
        found[f"r{n:02d}"] = emt(atoms)
    return found


def test_true_labels_have_no_findings() -> None:
    assert check_labels({**volumes(), **rattled(20)}) == []


def test_stress_is_compared_with_the_energy_under_any_strain() -> None:
    pairs = stress_pairs(volumes())
    assert len(pairs) == 6
    assert all(pair.agrees for pair in pairs)
    assert max(abs(p.from_energy_GPa - p.from_stress_GPa) for p in pairs) < 0.2
    shear = bulk("Cu", a=3.7)
    bent = shear.copy()
    strain = np.array([[0, 0.01, 0], [0.01, 0, 0], [0, 0, 0.02]])
    bent.set_cell(shear.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    (pair,) = stress_pairs({"a": emt(shear), "b": emt(bent)})
    assert pair.agrees
    assert abs(pair.from_stress_GPa) > 5 * pair.allowed_GPa


def test_wrong_sign_unit_or_volume_of_the_stress_is_found() -> None:
    assert {f.kind for f in stress_findings(volumes(-1.0))} == {"stress"}
    assert stress_findings(volumes(1 / GPa))
    assert stress_findings(volumes(-11.0))  # a virial


def test_one_wrong_stress_is_named_and_its_neighbours_are_not() -> None:
    found = volumes()
    found["v3"].atoms.calc.results["stress"] = np.full(6, 0.3)
    assert [finding.key for finding in stress_findings(found)] == ["v3"]


def test_a_shifted_energy_is_an_outlier_in_any_composition() -> None:
    found = rattled(25)
    assert energy_outliers(found) == []
    found["r07"].atoms.calc.results["energy"] += 27.2 * len(found["r07"].atoms) / 8
    (finding,) = energy_outliers(found)
    assert finding.key == "r07"
    assert "+3." in finding.message


def test_a_crystal_pressed_hard_is_high_in_energy_and_right() -> None:
    found = rattled(25)
    flat = bulk("Cu", cubic=True)
    flat.set_cell(flat.cell.array * np.array([1.2, 1.2, 0.5]), scale_atoms=True)
    found["flat"] = emt(flat)
    lowest = min(r.atoms.get_potential_energy() / len(r.atoms) for r in found.values())
    assert found["flat"].atoms.get_potential_energy() / 4 > lowest + 1.2
    assert energy_outliers(found) == []
    found["flat"].atoms.calc.results["energy"] += 4 * 13.6
    assert [finding.key for finding in energy_outliers(found)] == ["flat"]


def test_isolated_atoms_are_no_outliers() -> None:
    found = rattled(12)
    found["atom"] = emt(Atoms("Cu", cell=[12, 12, 12], pbc=True))
    assert energy_outliers(found) == []


def test_net_force_and_unreasonable_force() -> None:
    atoms = bulk("Cu", cubic=True)
    label = emt(atoms)
    forces = np.zeros((4, 3))
    forces[0, 0] = 0.4
    label.atoms.calc.results["forces"] = forces
    assert [f.kind for f in check_one("k", label.atoms)] == ["force sum"]
    forces[:2, 0] = (51.0, -51.0)
    assert [f.kind for f in check_one("k", label.atoms)] == ["large force"]


def test_robust_fit_is_not_drawn_by_a_far_point() -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet([1, 1], 30)
    values = shares @ [-3.0, -5.0] + rng.normal(scale=0.01, size=30)
    values[4] += 100
    np.testing.assert_allclose(robust_fit(shares, values), [-3.0, -5.0], atol=0.03)
