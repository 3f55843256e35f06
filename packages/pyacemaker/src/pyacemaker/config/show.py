"""Resolved values as rows of text, for `pyacemaker config show` and the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pyacemaker.config.resolve import Resolved


@dataclass(frozen=True)
class Row:
    """One line of the table; all text. `source` is FILE:LINE, `physics` or `default`."""

    key: str
    value: str
    unit: str
    source: str
    explanation: str


def format_resolved(resolved: Resolved) -> list[Row]:
    """Return a row for every resolved value, in the order of the configuration."""
    return [
        Row(entry.key, format_value(entry.value), entry.unit, entry.source, entry.explanation)
        for entry in resolved.entries
    ]


def format_value(value: Any) -> str:
    """Return a value as a person would write it in YAML on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {format_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    if isinstance(value, str):
        return value if value and _plain(value) else json.dumps(value, ensure_ascii=False)
    return str(value)


def _plain(text: str) -> bool:
    return all(letter.isalnum() or letter in "._/+-" for letter in text) and text[0].isalpha()
