import json

import numpy as np
import pytest
from pydantic import ValidationError

from pyacemaker.report import CheckEntry, CycleRow, ParitySet, ReportData


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
