"""A configuration file, read and checked: every mistake with its file, line, key and remedy."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pyacemaker.config.models import Config, Origin, sections, valid_paths
from pyacemaker.config.nearest import nearest, nearest_key
from pyacemaker.config.yaml_lines import (
    Document,
    KeyPath,
    Problem,
    UnreadableError,
    parse,
    read_text,
)

_UNITS = {
    "_eV_per_atom": "eV/atom",
    "_eV_per_A": "eV/angstrom",
    "_Ry_per_atom": "Ry/atom",
    "_per_A": "1/angstrom",
    "_muB": "Bohr magnetons",
    "_GPa": "GPa",
    "_THz": "THz",
    "_meV": "meV",
    "_eV": "eV",
    "_Ry": "Ry",
    "_fs": "fs",
    "_ps": "ps",
    "_A": "angstrom",
    "_K": "K",
    "_s": "s",
}
_MOST_TOLD = 50
_TRUE_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


class ConfigError(ValueError):
    """A configuration that is refused; one line for each problem, each with its remedy."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        ordered = sorted(set(problems), key=lambda p: (p.line or 0, p.key, p.message))
        left = len(ordered) - _MOST_TOLD
        if left > 0:
            more = Problem(
                ordered[_MOST_TOLD].line, "", f"and {left} or more problems from here on"
            )
            ordered = [*ordered[:_MOST_TOLD], more]
        self.problems = tuple(ordered)
        super().__init__("\n".join(_line(file, problem) for problem in self.problems))


def _line(file: str, problem: Problem) -> str:
    where = f"{file}:{problem.line}" if problem.line else file
    what = f"key '{problem.key}': {problem.message}" if problem.key else problem.message
    text = f"{where}: {what}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def load_config(path: Path | str) -> Config:
    """Read and check a YAML file.

    Raises
    ------
    ConfigError
        One line for each problem: ``FILE:LINE: key 'KEY': what is wrong; the remedy``.
    """
    file = str(path)
    try:
        text = read_text(Path(path))
    except UnreadableError as error:
        raise ConfigError(file, [Problem(error.line, "", error.message)]) from None
    return parse_config(text, file)


def parse_config(text: str, file: str = "<text>") -> Config:
    """Check the YAML in `text`; `file` is the name used in messages. Raises ConfigError."""
    try:
        document = parse(text)
    except UnreadableError as error:
        raise ConfigError(file, [Problem(error.line, "", error.message)]) from None
    value = document.value
    if value is None:
        raise ConfigError(
            file, [Problem(1, "elements", "the file is empty; write at least `elements: [Si]`")]
        )
    if not isinstance(value, dict):
        raise ConfigError(
            file,
            [
                Problem(
                    document.lines[()], "", "expected `key: value` lines, such as elements: [Si]"
                )
            ],
        )
    problems = list(document.problems) + _not_finite(value, (), document)
    config: Config | None = None
    try:
        # JSON mode, strict: lists may become tuples, but no text becomes a number.
        config = Config.model_validate_json(json.dumps(_spoken(value)), strict=True)
    except ValidationError as error:
        told = {problem.key for problem in problems}
        problems += [problem for problem in _problems(error, document) if problem.key not in told]
    if problems or config is None:
        raise ConfigError(file, problems)
    return config.with_origin(Origin(file, document.lines))


def unit_of(key: str) -> str:
    """Return the unit that the end of a key names: ``temperatures_K`` is in K."""
    for suffix, unit in _UNITS.items():
        if key.endswith(suffix):
            return unit
    return ""


def _not_finite(value: Any, path: KeyPath, document: Document) -> list[Problem]:
    if isinstance(value, dict):
        pairs: list[tuple[str | int, Any]] = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        if isinstance(value, float) and not math.isfinite(value):
            key = _dotted(path)
            return [Problem(document.lines[path], key, f"must be a finite number, not {value}")]
        return []
    return [p for key, inner in pairs for p in _not_finite(inner, (*path, key), document)]


def _spoken(value: dict[str, Any]) -> dict[str, Any]:
    """Fill empty sections; turn `yes` and `no` into booleans where a boolean is meant."""
    nested = sections()
    result = dict(value)
    for name, section in nested.items():
        inner = result.get(name, {})
        if inner is None:
            del result[name]
            continue
        if name == "execution" and isinstance(inner, str):
            result[name] = {"kind": inner}
            continue
        if not isinstance(inner, dict):
            continue
        changed = dict(inner)
        for key, given in inner.items():
            field = section.model_fields.get(key)
            if field is None or not isinstance(given, str) or "bool" not in str(field.annotation):
                continue
            if (word := _TRUE_WORDS.get(given.lower())) is not None:
                changed[key] = word == "true"
        result[name] = changed
    return result


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    found: dict[KeyPath, list[str]] = {}
    for item in error.errors(include_url=False):
        if len(found) > _MOST_TOLD:
            break  # a file that is no configuration at all
        path = _real_path(tuple(item["loc"]), document)
        unknown = item["type"] == "extra_forbidden"
        found.setdefault(path, []).append(_unknown(path) if unknown else _message(item, path))
    origin = Origin("", document.lines)
    return [
        Problem(origin.line_of(path), _dotted(path), _either(messages))
        for path, messages in found.items()
    ]


def _either(messages: list[str]) -> str:
    """Join what the branches of a union say: ``must be A, not X`` and ``must be B, not X``."""
    first, *others = dict.fromkeys(messages)
    for other in others:
        what, comma, given = first.rpartition(", not ")
        also = other.removeprefix("must be ").rpartition(", not ")[0]
        if comma and other.startswith("must be "):
            first = f"{what} or {also}, not {given}"
    return first


def _real_path(loc: KeyPath, document: Document) -> KeyPath:
    """Drop what is not in the file from a location: names of union branches, ``[key]``."""
    path: KeyPath = ()
    for part in loc:
        if (*path, part) in document.lines:
            path = (*path, part)
    if loc and not path:
        return loc
    # a required key that is missing has no line of its own
    return loc if len(loc) == 1 else path


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


@cache
def _all_paths() -> tuple[str, ...]:
    return tuple(valid_paths())


def _unknown(path: KeyPath) -> str:
    parent, key = path[:-1], str(path[-1])
    nested = sections()
    if not parent:
        siblings = list(Config.model_fields)
    elif len(parent) == 1 and parent[0] in nested:
        siblings = list(nested[str(parent[0])].model_fields)
    else:
        return "unknown key"
    everywhere = [p for p in _all_paths() if p.rpartition(".")[0] != ".".join(map(str, parent))]
    meant = nearest_key(key, siblings, everywhere)
    if meant is None:
        return f"unknown key; valid here: {', '.join(sorted(siblings))}"
    if meant in siblings:
        dotted = ".".join([*map(str, parent), meant])
        return f"unknown key; did you mean '{dotted}'?"
    where = "at the top level" if "." not in meant else f"in section '{meant.split('.')[0]}'"
    return f"unknown key; did you mean '{meant}' ({where})?"


def _message(item: Any, path: KeyPath) -> str:
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    unit = unit_of(key)
    shown = _show(given)
    if kind == "missing":
        example = " such as [Si] or [Ti, O]" if key == "elements" else ""
        return f"is required; give a list of chemical symbols{example}"
    bounds = {
        "greater_than": ("gt", "greater than"),
        "greater_than_equal": ("ge", "at least"),
        "less_than": ("lt", "less than"),
        "less_than_equal": ("le", "at most"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        return f"must be {words} {context[name]:g}{' ' + unit if unit else ''}, not {shown}"
    if kind in {"int_type", "float_type", "int_from_float", "int_parsing", "float_parsing"}:
        noun = "a whole number" if kind.startswith("int") else "a number"
        if unit:
            noun += f" (in {unit})"
        if isinstance(given, str) and (
            number := re.match(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?", given)
        ):
            return f"must be {noun}, not text {shown}; write {number.group().strip()}"
        return f"must be {noun}, not {shown}"
    if kind in {"literal_error", "string_pattern_mismatch"}:
        return _one_of(item, given)
    plain = {
        "string_type": "must be text",
        "bool_type": "must be true or false",
        "list_type": "must be a list, such as [a, b]",
        "tuple_type": "must be a list, such as [a, b]",
        "dict_type": "must be a section of `key: value` lines",
        "model_type": "must be a section of `key: value` lines",
        "model_attributes_type": "must be a section of `key: value` lines",
        "too_short": f"is empty; give at least {context.get('min_length')} value(s)",
        "too_long": f"has more than {context.get('max_length')} values",
        "string_too_short": "must not be empty",
    }
    if kind in plain:
        if kind in {"too_short", "too_long", "string_too_short"}:
            return plain[kind]
        return f"{plain[kind]}, not {shown}"
    message = str(item["msg"]).removeprefix("Value error, ").replace("\n", " ")
    return message if kind == "value_error" else f"{message}, not {shown}"


def _one_of(item: Any, given: Any) -> str:
    context = item["ctx"]
    if "pattern" in context:
        choices = re.findall(r"\w[\w-]*", context["pattern"])
    else:
        choices = re.findall(r"'([^']*)'|(\d+)", context["expected"])
        choices = [text or number for text, number in choices]
    message = f"must be one of {', '.join(choices)}, not {_show(given)}"
    meant = nearest(given, choices) if isinstance(given, str) else None
    return f"{message}; did you mean '{meant}'?" if meant else message


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
