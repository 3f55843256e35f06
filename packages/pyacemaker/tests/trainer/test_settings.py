from __future__ import annotations

import pytest
from pydantic import ValidationError

from pyacemaker.trainer.settings import TrainerSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"cutoff_A": 0.5},
        {"cutoff_A": float("inf")},
        {"functions_per_element": 3},
        {"max_body_order": 9},
        {"ridge": -1e-3},
        {"ridge": "automatic"},
        {"fit": "quadratic"},
        {"energy_weigth": 1.0},
    ],
)
def test_bad_values_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainerSettings(**wrong)


def test_every_field_is_described():
    fields = TrainerSettings.model_json_schema()["properties"]
    assert all(field.get("description") for field in fields.values())
