from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from pyacemaker.oracle.settings import ASESettings, EspressoSettings, make_oracle

CUTOFFS = {"ecutwfc_Ry": 30, "ecutrho_Ry": 120}


def test_a_command_may_be_written_as_a_line() -> None:
    settings = EspressoSettings(**CUTOFFS, command="mpirun -np 4 'my pw.x'")
    assert settings.command == ("mpirun", "-np", "4", "my pw.x")
    assert EspressoSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ecutrho_Ry": 100}, "at least 4 times"),
        ({"nspin": 2}, "starting_magnetization other than 0"),
        ({"nspin": 2, "starting_magnetization": {"Fe": 0.4}, "smearing": "none"}, "nspin 2 needs"),
        ({"starting_magnetization": {"Fe": 0.4}}, "only for nspin 2"),
        ({"nspin": 2, "starting_magnetization": {"Fe": 4}}, "less than or equal to 1"),
        ({"ecutwfc_Ry": float("nan")}, "finite"),
        ({"kspacing_per_A": 0}, "greater than 0"),
        ({"command": ""}, "at least 1"),
        ({"functional": "B3LYP"}, "PBE"),
        ({"degaus_Ry": 0.1}, "not permitted"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EspressoSettings(**{**CUTOFFS, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["EMT", "os; import x", "ase.calculators.emt.EMT()", "a..b", ".a"])
def test_what_is_no_dotted_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="dotted name"):
        ASESettings(calculator=name)


@pytest.mark.parametrize(
    "settings", [EspressoSettings(**CUTOFFS), ASESettings(calculator="ase.calculators.emt.EMT")]
)
def test_oracles_can_be_sent_to_a_worker(settings: EspressoSettings | ASESettings) -> None:
    oracle = make_oracle(settings)
    assert oracle.name == settings.code
    assert pickle.loads(pickle.dumps(oracle)) == oracle
