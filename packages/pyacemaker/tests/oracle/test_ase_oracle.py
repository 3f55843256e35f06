from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pyacemaker.oracle.ase_oracle import ASEOracle
from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.settings import ASESettings
from pyacemaker.provenance import provenance_of, tag


class NoStress(Calculator):  # type: ignore[misc]
    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def calculate(self, atoms: Any = None, *_: Any, **__: Any) -> None:
        self.results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3))}


class NotANumber(NoStress):
    def calculate(self, atoms: Any = None, *_: Any, **__: Any) -> None:
        self.results = {"energy": np.nan, "forces": np.zeros((len(atoms), 3))}


def oracle(calculator: str = "ase.calculators.emt.EMT", **kwargs: Any) -> ASEOracle:
    return ASEOracle(ASESettings(calculator=calculator, kwargs=kwargs))


def test_label_is_what_the_calculator_says(tmp_path: Path) -> None:
    atoms = tag(bulk("Cu", cubic=True) * (2, 1, 1), "rattle", "one")
    atoms.rattle(0.1, seed=1)
    atoms.set_constraint(FixAtoms([0]))
    label = oracle().label(atoms, tmp_path)
    plain = atoms.copy()
    plain.set_constraint()
    plain.calc = EMT()
    assert label.atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy())
    assert np.abs(plain.get_forces()[0]).max() > 0.01
    forces = label.atoms.get_forces(apply_constraint=False)
    np.testing.assert_allclose(forces, plain.get_forces(), atol=1e-12)
    np.testing.assert_allclose(label.atoms.get_stress(), plain.get_stress(), atol=1e-12)
    assert provenance_of(label.atoms)["generator"] == "rattle"
    assert label.settings == oracle().settings(atoms)
    assert json.loads(json.dumps(label.settings)) == label.settings
    assert label.settings["version"][0].isdigit()
    assert label.meta["wall_s"] >= 0
    assert atoms.calc is None


def test_arguments_are_part_of_the_settings() -> None:
    atoms = bulk("Cu")
    assert oracle(asap_cutoff=True).settings(atoms) != oracle().settings(atoms)


def test_a_cluster_has_no_stress(tmp_path: Path) -> None:
    label = oracle().label(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]), tmp_path)
    assert not label.atoms.get_stress().any()
    assert np.abs(label.atoms.get_forces()).max() > 0.01


@pytest.mark.parametrize(
    ("calculator", "kwargs", "said"),
    [
        ("ase.calculators.nowhere.EMT", {}, "no module 'ase.calculators.nowhere'"),
        ("ase.calculators.emt.EMTX", {}, "has no 'EMTX'"),
        ("ase.build.bulk", {}, "not an ASE calculator class"),
        ("ase.calculators.lj.LennardJones", {"rc": "wide"}, "wide"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(
    tmp_path: Path, calculator: str, kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(OracleError, match=said) as caught:
        oracle(calculator, **kwargs).label(bulk("Cu"), tmp_path)
    assert "\n" not in caught.value.diagnosis


def test_no_stress_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ase.calculators.emt.EMT", NoStress)
    with pytest.raises(OracleError, match="gives no stress"):
        oracle().label(bulk("Cu"), tmp_path)
    cluster = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    assert not oracle().label(cluster, tmp_path).atoms.get_stress().any()


def test_nan_is_never_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ase.calculators.emt.EMT", NotANumber)
    with pytest.raises(OracleError, match="energy of Cu2 is not finite"):
        oracle().label(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]), tmp_path)


def test_an_element_the_calculator_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="failed on Si2"):
        oracle().label(bulk("Si"), tmp_path)
