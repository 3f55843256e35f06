"""Labels by a model that runs in a process of its own."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.rootstock_oracle import RootstockOracle
from pyacemaker.oracle.settings import RootstockSettings, make_oracle
from pyacemaker.provenance import provenance_of, tag

pytestmark = pytest.mark.real


def oracle(model: str = "emt", **more: str) -> RootstockOracle:
    made = make_oracle(RootstockSettings(model=model, **more))
    assert isinstance(made, RootstockOracle)
    return made


def test_a_label_is_the_models_own_bit_for_bit(tmp_path: Path) -> None:
    atoms = tag(bulk("Cu", cubic=True) * (2, 1, 1), "rattle", "one")
    atoms.rattle(0.1, seed=1)
    label = pickle.loads(pickle.dumps(oracle())).label(atoms, tmp_path)
    own = atoms.copy()
    own.calc = EMT()
    assert label.atoms.get_potential_energy() == own.get_potential_energy()
    assert np.array_equal(label.atoms.get_forces(), own.get_forces())
    assert np.array_equal(label.atoms.get_stress(), own.get_stress())
    assert provenance_of(label.atoms)["group"] == "one"
    assert label.settings == oracle().settings(atoms)
    assert label.settings["code"] == "rootstock"
    assert len(label.settings["made_of"]) == 64


def test_a_cluster_has_no_stress(tmp_path: Path) -> None:
    pair = Atoms("Cu2", [(0, 0, 0), (0, 0, 2.3)])
    assert np.array_equal(oracle().label(pair, tmp_path).atoms.get_stress(), np.zeros(6))


def test_the_key_knows_the_model_and_not_the_machine() -> None:
    atoms = bulk("Cu")
    assert oracle().settings(atoms) == oracle(device="cuda").settings(atoms)
    assert oracle().settings(atoms) != oracle("lj").settings(atoms)


def test_what_the_model_refuses_is_a_diagnosis(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="emt failed on U"):
        oracle().label(bulk("U", "fcc", a=4.9), tmp_path)
    # and the next structure is labelled all the same
    assert np.isfinite(oracle().label(bulk("Cu"), tmp_path).atoms.get_potential_energy())


def test_a_root_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOTSTOCK_ROOT", raising=False)
    with pytest.raises(OracleError, match=r"oracle\.root is not set"):
        oracle("chgnet").prepare()
    with pytest.raises(OracleError, match="not a rootstock root"):
        oracle("chgnet", root=str(tmp_path)).prepare()
