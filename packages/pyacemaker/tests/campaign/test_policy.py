"""What to explore next: rules on plain data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyacemaker.campaign.policy import MOST_HALTS, Material, Past, Situation, decide, material_of

NOW = Situation(
    temperatures_K=(300.0, 600.0, 900.0),
    runs=(),
    failed_gates=frozenset(),
    labels_spent=60,
    labels_budget=600,
    cheap=True,
)
ALLOY = material_of(["Cu", "Au"], metallic=True, all_metals=True)
METAL = material_of(["Cu"], metallic=True, all_metals=True)
INSULATOR = material_of(["Ti", "O"], metallic=False, all_metals=False)


def _kinds(material: Material, now: Situation) -> list[str]:
    return [exploration.kind for exploration in decide(material, now).explorations]


def test_the_material_decides_what_comes_first() -> None:
    assert _kinds(ALLOY, NOW) == ["swap", "composition"]
    assert _kinds(METAL, NOW) == ["ramp", "vacancy"]
    assert _kinds(INSULATOR, NOW) == ["strain", "pressure"]


def test_a_gap_that_the_oracle_told_goes_before_the_guess() -> None:
    assert material_of(["Fe", "Si"], metallic=True, all_metals=False, gap_eV=0.8).kind == (
        "insulator"
    )
    assert material_of(["Ti", "O"], metallic=False, all_metals=False, gap_eV=0.0).kind == "metal"


def test_what_holds_is_not_run_again_and_what_halted_comes_first() -> None:
    runs = (Past(2, "swap", 900.0, "completed"), Past(2, "composition", 600.0, "halted"))
    now = replace(NOW, runs=runs)
    assert _kinds(ALLOY, now)[0] == "composition"
    assert "swap" not in _kinds(ALLOY, now)
    assert "it halted before" in decide(ALLOY, now).explorations[0].reason


def test_what_halts_again_and_again_is_left() -> None:
    runs = tuple(Past(n, "swap", 900.0, "halted") for n in range(MOST_HALTS))
    assert "swap" not in _kinds(ALLOY, replace(NOW, runs=runs))
    everything = tuple(
        Past(n, kind, 900.0, "halted")
        for n in range(MOST_HALTS)
        for kind in ("strain", "pressure", "ramp")
    )
    done = decide(
        INSULATOR, replace(NOW, runs=(*everything, Past(9, "vacancy", 600.0, "completed")))
    )
    assert done.explorations == ()
    assert "vacancy hold" in done.why and "are left" in done.why


def test_a_failed_gate_and_halts_at_the_hottest_change_the_order() -> None:
    now = replace(NOW, failed_gates=frozenset({"elastic (fcc Al)"}))
    assert _kinds(METAL, now)[0] == "strain"
    assert "elastic (fcc Al) failed" in decide(METAL, now).explorations[0].reason
    hot = tuple(Past(n, "equilibrium", 900.0, "halted") for n in range(3))
    first = decide(ALLOY, replace(NOW, runs=hot)).explorations[0]
    assert first.kind == "ramp"
    assert first.temperature_K == pytest.approx((900.0, 1080.0))
    assert "3 of 3 halts" in first.reason


@pytest.mark.parametrize(("spent", "cheap", "goes_on"), [
    (200, True, True), (300, True, False), (160, False, True), (200, False, False),
])  # fmt: skip
def test_labels_are_kept_for_the_last_test(spent: int, cheap: bool, goes_on: bool) -> None:
    decision = decide(METAL, replace(NOW, labels_spent=spent, cheap=cheap))
    assert bool(decision.explorations) is goes_on
    if not goes_on:
        assert f"{spent} of 600 labels" in decision.why


def test_ensembles_fit_what_is_explored() -> None:
    made = {e.kind: e for e in decide(ALLOY, replace(NOW, at_once=9)).explorations}
    assert not made["swap"].npt and not made["surface"].npt and not made["strain"].npt
    assert made["ramp"].npt and made["pressure"].npt


def test_the_same_situation_gives_the_same_decision() -> None:
    assert decide(ALLOY, NOW) == decide(ALLOY, replace(NOW))
