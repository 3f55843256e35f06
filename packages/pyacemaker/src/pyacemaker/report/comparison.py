"""Two campaigns side by side: what they came to, what it cost, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from pyacemaker.report import figures, style
from pyacemaker.report.data import CheckEntry, ParitySet, ReportData
from pyacemaker.report.figures import QUANTITIES, Quantity, parity_pairs
from pyacemaker.report.formatting import MISSING, number
from pyacemaker.report.panels import Panel
from pyacemaker.report.summary import (
    KEY_NUMBERS,
    KeyNumber,
    check_name,
    headline,
    latest_checks,
    shown,
)
from pyacemaker.report.thinning import errors

LABELS_TO_TARGET = "labels_to_target"
_NUMBERS = (KeyNumber(LABELS_TO_TARGET, "Labels until the targets were met", ""), *KEY_NUMBERS)
# Of these, less is better; of the others (physics) neither is, only the distance counts.
_LESS_IS_BETTER = {LABELS_TO_TARGET, "labels", "wall_s", "dft_s", *(q.field for q in QUANTITIES)}
_OF_ONE_RUN = ("oracle.command", "oracle.threads", "oracle.timeout", "oracle.max_", "oracle.stall")
_LOOKS = ((style.BLUE, "circle", "solid"), (style.VERMILLION, "diamond", "dash"))


@dataclass(frozen=True)
class Compared:
    """Two campaigns. `names` tell them apart in words.

    `crossed[i][j]` holds labels and predictions of potential i on the test set of campaign j;
    a pair that cannot be computed (an element the potential does not know, no potential) is
    left out. `notes` are sentences that a reader has to know before comparing anything.
    """

    names: tuple[str, str]
    campaigns: tuple[ReportData, ReportData]
    crossed: Mapping[tuple[int, int], ParitySet] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumberRow:
    """A headline number of both, in the unit of its key; `better` is 0, 1 or None."""

    key: str
    name: str
    unit: str
    values: tuple[float | None, float | None]
    texts: tuple[str, str]
    difference: str
    better: int | None


def labels_to_target(data: ReportData) -> float | None:
    """Return the labels there were when all errors first met their targets, None if never."""
    wanted = {
        quantity.field: target
        for quantity in QUANTITIES
        if (target := getattr(data.targets, quantity.field)) is not None
    }
    for row in data.cycles:
        found = {name: getattr(row, name) for name in wanted}
        if wanted and all(
            found[name] is not None and found[name] <= wanted[name] for name in wanted
        ):
            return row.labels
    return None


def number_rows(compared: Compared) -> list[NumberRow]:
    """Return the headline numbers that at least one of the two knows."""
    found = [
        headline(data) | {LABELS_TO_TARGET: labels_to_target(data)} for data in compared.campaigns
    ]
    rows = []
    for item in _NUMBERS:
        a, b = found[0].get(item.key), found[1].get(item.key)
        if a is None and b is None:
            continue
        rows.append(
            NumberRow(
                key=item.key,
                name=item.name.replace("{method}", "Labelling"),
                unit="" if item.key.endswith("_s") else item.unit,
                values=(a, b),
                texts=(_text(item, a), _text(item, b)),
                difference=_difference(a, b),
                better=_better(item.key, a, b),
            )
        )
    return rows


def _text(item: KeyNumber, value: float | None) -> str:
    key = "labels" if item.key == LABELS_TO_TARGET else item.key
    return shown(key, value, item.scale, item.digits)


def _difference(a: float | None, b: float | None) -> str:
    if a is None or b is None or a == 0:
        return MISSING
    return f"{100 * (b - a) / abs(a):+.1f} %".replace("-", "−")


def _better(key: str, a: float | None, b: float | None) -> int | None:
    if key not in _LESS_IS_BETTER or a is None or b is None or a == b:
        return None
    return int(b < a)


def setting_rows(compared: Compared) -> list[tuple[str, Any, Any, str]]:
    """Return (key, value of the first, of the second, unit) of every setting that differs."""
    sides = [{row.key: row for row in data.settings} for data in compared.campaigns]
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = sides[0].get(key), sides[1].get(key)
        values = (a.value if a else None, b.value if b else None)
        if values[0] != values[1]:
            unit = next((row.unit for row in (a, b) if row and row.unit), "")
            rows.append((key, *values, unit))
    return rows


def oracle_differences(compared: Compared) -> list[str]:
    """Return the settings, by key, for which the two sets of labels are not of one kind."""
    return [
        key
        for key, *_ in setting_rows(compared)
        if key.startswith("oracle.") and not key.startswith(_OF_ONE_RUN)
    ]


def check_rows(compared: Compared) -> list[tuple[str, CheckEntry | None, CheckEntry | None]]:
    """Return (name, newest result of the first, of the second) of every check."""
    sides = [{c.name: c for c in latest_checks(data.checks)} for data in compared.campaigns]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [(check_name(name), sides[0].get(name), sides[1].get(name)) for name in names]


def crossed_rows(compared: Compared) -> list[dict[str, Any]]:
    """Return a row for every (potential, test set): RMSE and MAE of each quantity.

    Keys: `potential` and `test_set` (names), `structures`, and for each quantity the two
    errors in its own error unit, as numbers (None where there is nothing to compare).
    """
    rows = []
    for (i, j), values in sorted(compared.crossed.items(), key=lambda item: item[0][::-1]):
        row: dict[str, Any] = {
            "potential": compared.names[i],
            "test_set": compared.names[j],
            "structures": len(values.energy_reference),
        }
        for quantity in QUANTITIES:
            rmse, mae, _ = errors(*parity_pairs(values, quantity))
            row[f"{quantity.name}_rmse"] = _scaled(rmse, quantity)
            row[f"{quantity.name}_mae"] = _scaled(mae, quantity)
        rows.append(row)
    return rows


def _scaled(value: float | None, quantity: Quantity) -> float | None:
    return None if value is None else value * quantity.error_scale


def curves(compared: Compared) -> list[Panel]:
    """Return the test error of both against their labels, one panel for each quantity."""
    made = []
    for quantity in QUANTITIES:
        figure = style.figure("labels", f"test {quantity.name} RMSE ({quantity.error_unit})")
        for data, name, look in zip(compared.campaigns, compared.names, _LOOKS, strict=True):
            _curve(figure, data, quantity, name, look)
        if not figure.data:
            continue
        targets = {getattr(data.targets, quantity.field) for data in compared.campaigns}
        for target in sorted(value for value in targets if value):
            figures.level(
                figure,
                target * quantity.error_scale,
                f"target {number(target * quantity.error_scale)}",
                style.MUTED,
                "dash",
                "left",
            )
        style.logarithmic(figure, (float(y) for trace in figure.data for y in trace.y))
        figure.update_layout(showlegend=True)
        made.append(
            Panel(
                f"compared-{quantity.name}",
                "learning",
                figure,
                f"Learning curves of the {quantity.name} error",
                f"Test {quantity.name} error of both against the number of labels, each on its "
                "own test set.",
            )
        )
    return made


def _curve(
    figure: go.Figure,
    data: ReportData,
    quantity: Quantity,
    name: str,
    look: tuple[str, str, str],
) -> None:
    points = [
        (row.labels, getattr(row, quantity.field) * quantity.error_scale, row.iteration)
        for row in data.cycles
        if row.labels is not None and getattr(row, quantity.field)
    ]
    if not points:
        return
    colour, symbol, dash = look
    labels, values, cycles = (list(column) for column in zip(*points, strict=True))
    figure.add_scatter(
        x=labels,
        y=values,
        customdata=cycles,
        mode="lines+markers",
        name=style.plain(name, 24),
        line={"color": colour, "width": 2, "dash": dash},
        marker={"symbol": symbol, "size": 8},
        hovertemplate=f"cycle %{{customdata}}: %{{x}} labels, %{{y:.3g}} {quantity.error_unit}",
    )


def as_json(compared: Compared) -> dict[str, Any]:
    """Return the comparison as plain JSON values; the units are in the keys."""
    numbers = {
        row.key: {
            "a": row.values[0],
            "b": row.values[1],
            "better": None if row.better is None else "ab"[row.better],
        }
        for row in number_rows(compared)
    }
    return {
        "a": _who(compared, 0),
        "b": _who(compared, 1),
        "notes": list(compared.notes),
        "numbers": numbers,
        "checks": {
            name: {"a": a.passed if a else None, "b": b.passed if b else None}
            for name, a, b in check_rows(compared)
        },
        "settings": [
            {"key": key, "a": a, "b": b, "unit": unit} for key, a, b, unit in setting_rows(compared)
        ],
        "crossed_tests": [
            {
                "potential": row["potential"],
                "test_set": row["test_set"],
                "structures": row["structures"],
            }
            | {
                f"{quantity.name}_{kind}_{unit}": row[f"{quantity.name}_{kind}"]
                for quantity, unit in zip(
                    QUANTITIES, ("meV_per_atom", "meV_per_A", "GPa"), strict=True
                )
                for kind in ("rmse", "mae")
            }
            for row in crossed_rows(compared)
        ],
    }


def _who(compared: Compared, side: int) -> dict[str, Any]:
    data = compared.campaigns[side]
    return {
        "name": compared.names[side],
        "workdir": data.paths.get("work directory", ""),
        "elements": data.elements,
        "decision": data.decision,
        "reason": data.reason,
        "cycles": len(data.cycles),
    }
