"""The elastic constants as a matrix, and the Born criteria with their verdicts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pyacemaker.report.data import CheckEntry
from pyacemaker.report.formatting import fixed, number
from pyacemaker.report.series import floats

_TENSOR = re.compile(r"^C(_|ij|$)|elastic|stiffness|tensor")


@dataclass(frozen=True)
class BornRow:
    """One criterion: a quantity that must be positive in a stable crystal."""

    criterion: str
    value: str
    passed: bool | None


@dataclass(frozen=True)
class ElasticTables:
    """What the page shows of an elastic check."""

    matrix: list[list[str]]
    born: list[BornRow]
    crystal_system: str


def elastic_tables(check: CheckEntry) -> ElasticTables | None:
    """Return the tables of a check that holds elastic constants, or None."""
    matrix = _matrix(check)
    born = _born(check)
    if not matrix and not born:
        return None
    system = str(check.series.get("crystal_system") or "")
    return ElasticTables(matrix, born, system)


def _matrix(check: CheckEntry) -> list[list[str]]:
    for key, values in check.series.items():
        if (
            _TENSOR.search(key)
            and isinstance(values, list)
            and len(values) == 6
            and all(isinstance(row, list) and len(row) == 6 for row in values)
        ):
            return [[_cell(value) for value in floats(row)] for row in values]
    found = {
        (int(match[1]), int(match[2])): value
        for key, value in check.numbers.items()
        if (match := re.fullmatch(r"C([1-6])([1-6])(?:_GPa)?", key))
    }
    if len(found) < 6:
        return []
    return [[_cell(found.get((i, j), found.get((j, i)))) for j in range(1, 7)] for i in range(1, 7)]


def _cell(value: float | None) -> str:
    return fixed(value, 1)


def _born(check: CheckEntry) -> list[BornRow]:
    rows: list[BornRow] = []
    for key, values in check.series.items():
        if "born" not in key.lower():
            continue
        items: list[Any] = []
        if isinstance(values, dict):
            items = [
                {"criterion": k, **(v if isinstance(v, dict) else {"value": v})}
                for k, v in values.items()
            ]
        elif isinstance(values, list):
            items = [v for v in values if isinstance(v, dict)]
        rows += [_row(item) for item in items]
    for key, value in check.numbers.items():
        if key.lower().startswith("born_"):
            rows.append(_row({"criterion": key[5:].replace("_", " "), "value": value}))
    return rows


def _row(item: dict[str, Any]) -> BornRow:
    value = item.get("value")
    passed = item.get("passed", item.get("ok"))
    if isinstance(value, bool):
        passed, value = value, None
    real = floats([value])[0]
    if passed is None and real is not None:
        passed = real > 0
    name = item.get("criterion") or item.get("name") or item.get("expression") or "criterion"
    return BornRow(str(name), number(real, 4), passed if isinstance(passed, bool) else None)
