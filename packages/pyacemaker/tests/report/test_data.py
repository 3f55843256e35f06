import json

import numpy as np
import pytest
from ase.build import bulk
from pydantic import ValidationError

from pyacemaker.dynamics.base import GammaSample, MDResult
from pyacemaker.report import CheckEntry, CycleRow, MDTrace, ParitySet, ReportData
from pyacemaker.validator.base import CheckResult


def test_not_finite_becomes_none_and_survives_json() -> None:
    data = ReportData(
        numbers={"B0_GPa": float("nan"), "C11_GPa": np.float32(3.5)},
        cycles=[CycleRow(iteration=1, energy_rmse_eV_per_atom=float("inf"), md={300: "halted"})],
        checks=[CheckEntry(name="eos", series={"x": np.array([1.0, np.nan])})],
    )
    text = data.model_dump_json()
    assert "NaN" not in text and "Infinity" not in text
    again = ReportData.model_validate_json(text)
    assert again == data
    assert data.numbers == {"B0_GPa": None, "C11_GPa": 3.5}
    assert data.checks[0].series == {"x": [1.0, None]}
    assert json.loads(text)["cycles"][0]["energy_rmse_eV_per_atom"] is None


def test_ragged_and_nested_arrays_are_flattened() -> None:
    parity = ParitySet(
        force_reference=[np.ones((2, 3)), np.zeros((1, 3))], force_predicted=np.arange(9.0)
    )
    assert parity.force_reference == [1.0] * 6 + [0.0] * 3
    assert parity.force_predicted == list(np.arange(9.0))


def test_unknown_field_is_a_callers_mistake() -> None:
    with pytest.raises(ValidationError, match="cylces"):
        ReportData(cylces=[])  # type: ignore[call-arg]


def test_taken_from_the_interfaces_of_the_parts() -> None:
    result = MDResult(
        status="halted",
        steps_done=10,
        frame=bulk("Cu"),
        trace=(GammaSample(0, 0.0, 300.0, 1.0), GammaSample(10, 10.0, 310.0, 7.0)),
        engine="ase",
        message="gamma 7.00 at step 10",
    )
    trace = MDTrace.from_result(result, iteration=2, temperature_K=300, gamma_halt=5)
    assert trace.samples == [(0.0, 1.0, 300.0), (10.0, 7.0, 310.0)]
    check = CheckEntry.from_result(
        CheckResult("eos", np.bool_(True), "fine", {"B0_GPa": np.float64(9)}), iteration=2
    )
    assert (check.passed, check.numbers) == (True, {"B0_GPa": 9.0})
    json.loads(check.model_dump_json())
