"""A batch of labels: stored at once, failures set aside, nothing computed twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.exploration import hold_out, is_thermal
from pyacemaker.campaign.labelling import label_batch
from pyacemaker.execution.parsl_executor import ParslExecutor
from pyacemaker.generator.cold_start import cold_start
from pyacemaker.generator.reference import reference_structure
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.settings import ASESettings, make_oracle
from pyacemaker.provenance import group_of, provenance_of, tag

ORACLE = make_oracle(ASESettings(calculator="ase.calculators.emt.EMT"))


def _structures() -> list[Atoms]:
    made = [bulk("Cu", a=3.6), bulk("Si"), bulk("Cu", a=3.7), bulk("Cu", a=3.6)]
    return [tag(atoms, "test", f"group-{i}") for i, atoms in enumerate(made)]


def test_a_batch_with_a_structure_that_cannot_be_labelled(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    seen: list[tuple[int, int]] = []
    with ParslExecutor(2) as executor:
        batch = label_batch(
            _structures(), ORACLE, store, executor, lambda *progress: seen.append(progress)
        )
        assert batch.keys[1] is None  # EMT knows no silicon
        assert batch.keys[0] == batch.keys[3]
        assert batch.computed == 3
        (diagnosis,) = batch.failures.values()
        assert "Si" in diagnosis
        assert seen[0] == (0, 3)
        assert seen[-1] == (3, 3)
        again = label_batch(_structures(), ORACLE, store, executor, lambda *_: None)
        assert again.computed == 0
        assert again.keys == batch.keys
        assert again.failures == batch.failures
        assert store.forget_failures() == 1
        retried = label_batch(_structures(), ORACLE, store, executor, lambda *_: None)
        assert retried.computed == 1
    label = store.get(batch.keys[0] or "")
    assert label is not None
    assert provenance_of(label.atoms)["generator"] == "test"
    assert label.atoms.get_forces().shape == (1, 3)


def test_a_defect_is_not_taken_for_a_failed_label(tmp_path: Path) -> None:
    def broken(done: int, total: int) -> None:
        raise ZeroDivisionError

    with ParslExecutor(1) as executor, pytest.raises(ZeroDivisionError):
        label_batch(_structures(), ORACLE, LabelStore(tmp_path), executor, broken)


def test_test_structures_are_thermal_and_leave_with_their_group() -> None:
    pool = cold_start(["Cu"], reference_structure(["Cu"]), 4, np.random.default_rng(2))
    drawn, rest = hold_out(pool, 4, np.random.default_rng(3))
    assert len(drawn) == 4
    assert all(is_thermal(atoms) for atoms in drawn)
    assert not {group_of(a) for a in drawn} & {group_of(a) for a in rest}
    again, _ = hold_out(pool, 4, np.random.default_rng(3))
    assert [group_of(a) for a in again] == [group_of(a) for a in drawn]
    wild = [a for a in pool if provenance_of(a)["generator"] in {"dimer", "surface"}]
    assert not any(is_thermal(atoms) for atoms in wild)


@dataclass(frozen=True)
class FailingOracle:
    """EMT that fails on every structure, in one way."""

    name: str
    diagnosis: str
    failure: str

    def settings(self, atoms: Atoms) -> dict[str, str]:
        return {"code": "failing"}

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        raise OracleError(self.diagnosis, {"attempts": [{"class": self.failure}]})


def test_when_nearly_everything_fails_it_stops_soon_and_says_of_what(tmp_path: Path) -> None:
    oracle = FailingOracle("failing", "Cu: scf_not_converged_slow: as ever", "scf")
    structures = [bulk("Cu", a=3.4 + 0.001 * i) for i in range(200)]
    with ParslExecutor(2) as executor, pytest.raises(CampaignError) as caught:
        label_batch(structures, oracle, LabelStore(tmp_path), executor, lambda *_: None)
    assert "20 of 20 labels failed (20 x scf_not_converged_slow)" in str(caught.value)
    assert "--retry-failed" in str(caught.value)
    assert len(LabelStore(tmp_path).failures()) == 20


@pytest.mark.parametrize(("failure", "tried"), [("disk_full", 1), ("atoms_overlap", 0)])
def test_what_the_machine_did_is_tried_again(tmp_path: Path, failure: str, tried: int) -> None:
    oracle = FailingOracle("failing", f"Cu: {failure}: it was", failure)
    store = LabelStore(tmp_path)
    with ParslExecutor(1) as executor:
        first = label_batch([bulk("Cu")], oracle, store, executor, lambda *_: None)
        again = label_batch([bulk("Cu")], oracle, store, executor, lambda *_: None)
    assert first.computed == 1
    assert again.computed == tried
    assert again.keys == (None,)
