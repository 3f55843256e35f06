"""Two campaigns side by side, from plain data."""

from __future__ import annotations

import numpy as np

from pyacemaker.report import CheckEntry, CycleRow, ParitySet, ReportData, SettingRow, Targets
from pyacemaker.report.comparison import (
    Compared,
    as_json,
    check_rows,
    crossed_rows,
    curves,
    labels_to_target,
    number_rows,
    oracle_differences,
    setting_rows,
)
from pyacemaker.report.render import render_comparison

EVIL = "</script><script>alert(1)</script>{{7*7}}"


def campaign(
    errors: list[tuple[int, float, float]], checks: list[CheckEntry], seed: int, cutoff: float
) -> ReportData:
    return ReportData(
        elements=["Cu"],
        decision="certified",
        reason="it passed",
        targets=Targets(energy_rmse_eV_per_atom=0.01, force_rmse_eV_per_A=0.15),
        cycles=[
            CycleRow(
                iteration=i, labels=n, energy_rmse_eV_per_atom=e, force_rmse_eV_per_A=f, wall_s=10
            )
            for i, (n, e, f) in enumerate(errors, start=1)
        ],
        checks=checks,
        settings=[
            SettingRow(key="seed", value=seed),
            SettingRow(key="trainer.cutoff_A", value=6.0, unit="angstrom"),
            SettingRow(key="oracle.ecutwfc_Ry", value=cutoff, unit="Ry"),
            SettingRow(key="oracle.threads", value=seed),
        ],
    )


A = campaign(
    [(20, 0.02, 0.2), (40, 0.009, 0.14)],
    [CheckEntry(name="eos", passed=True, reason="smooth", numbers={"B0_GPa": 100.0})],
    1,
    30.0,
)
B = campaign(
    [(20, 0.009, 0.2), (30, 0.012, 0.14), (35, 0.005, 0.16)],
    [
        CheckEntry(name="eos", passed=True, reason="smooth", numbers={"B0_GPa": 110.0}),
        CheckEntry(name="phonons", passed=False, reason="imaginary"),
    ],
    2,
    40.0,
)


def test_labels_to_target_counts_where_every_error_was_met() -> None:
    assert labels_to_target(A) == 40
    assert labels_to_target(B) is None  # never both in one cycle
    assert labels_to_target(ReportData()) is None


def test_the_smaller_error_wins_and_a_property_has_no_winner() -> None:
    rows = {row.key: row for row in number_rows(Compared(("a", "b"), (A, B)))}
    assert rows["energy_rmse_eV_per_atom"].values == (0.009, 0.005)
    assert rows["energy_rmse_eV_per_atom"].texts == ("9.0", "5.0")
    assert rows["energy_rmse_eV_per_atom"].better == 1
    assert rows["force_rmse_eV_per_A"].better == 0
    assert rows["B0_GPa"].better is None
    assert rows["B0_GPa"].difference == "+10.0 %"
    assert rows["wall_s"].values == (20.0, 30.0)
    assert rows["wall_s"].better == 0
    assert rows["labels_to_target"].texts == ("40", "–")
    assert "C11_GPa" not in rows


def test_settings_that_differ_and_those_that_make_other_labels() -> None:
    compared = Compared(("a", "b"), (A, B))
    assert setting_rows(compared) == [
        ("seed", 1, 2, ""),
        ("oracle.ecutwfc_Ry", 30.0, 40.0, "Ry"),
        ("oracle.threads", 1, 2, ""),
    ]
    assert oracle_differences(compared) == ["oracle.ecutwfc_Ry"]
    assert setting_rows(Compared(("a", "b"), (A, A))) == []


def test_checks_are_paired_by_name() -> None:
    rows = check_rows(Compared(("a", "b"), (A, B)))
    assert [(name, a is not None, b is not None) for name, a, b in rows] == [
        ("Equation of state", True, True),
        ("Phonons", False, True),
    ]


def test_crossed_errors_are_the_textbook_ones() -> None:
    values = ParitySet(
        energy_reference=[0.0, 1.0],
        energy_predicted=[0.003, 0.996],
        force_reference=[0.0, 0.0],
        force_predicted=[0.03, -0.04],
    )
    (row,) = crossed_rows(Compared(("a", "b"), (A, B), {(0, 1): values}))
    assert (row["potential"], row["test_set"], row["structures"]) == ("a", "b", 2)
    assert np.isclose(row["energy_rmse"], 1000 * np.sqrt((0.003**2 + 0.004**2) / 2))
    assert np.isclose(row["energy_mae"], 3.5)
    assert np.isclose(row["force_rmse"], 1000 * np.sqrt((0.03**2 + 0.04**2) / 2))
    assert row["stress_rmse"] is None
    found = as_json(Compared(("a", "b"), (A, B), {(0, 1): values}))
    assert np.isclose(found["crossed_tests"][0]["energy_mae_meV_per_atom"], 3.5)
    assert found["numbers"]["energy_rmse_eV_per_atom"]["better"] == "b"
    assert found["checks"]["Phonons"] == {"a": None, "b": False}


def test_the_curves_show_both_and_their_target() -> None:
    panels = curves(Compared(("one", "two"), (A, B)))
    assert [panel.key for panel in panels] == ["compared-energy", "compared-force"]
    names = [trace.name for trace in panels[0].figure.data if trace.name]
    assert names == ["one", "two"]
    assert list(panels[0].figure.data[1].y) == [9.0, 12.0, 5.0]


def test_the_page_escapes_what_it_shows_and_stands_for_empty_campaigns() -> None:
    evil = A.model_copy(update={"reason": EVIL})
    page = render_comparison(Compared((EVIL, "b"), (evil, B), notes=(EVIL,)))
    assert "<script>alert" not in page
    assert "49" not in page[page.index("<h1>") : page.index("</h1>")]
    empty = render_comparison(Compared(("a", "b"), (ReportData(), ReportData())))
    assert "Neither campaign has come to a number yet." in empty
    assert "None: both ran with the same settings." in empty
