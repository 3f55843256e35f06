"""A cluster file, read and checked: every mistake with its file, line, key and remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ai_how.config.keys import keys_of, section_at, valid_paths
from ai_how.config.models import ClusterFile, Origin
from ai_how.config.nearest import nearest, nearest_key
from ai_how.config.yaml_lines import (
    Document,
    KeyPath,
    Problem,
    UnreadableError,
    parse,
    read_text,
)
from ai_how.errors import BadRequestError

_MOST_TOLD = 50


class ConfigError(BadRequestError):
    """A file that is refused; one line for each problem, each with its remedy."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        ordered = sorted(set(problems), key=lambda p: (p.line or 0, p.key, p.message))
        left = len(ordered) - _MOST_TOLD
        if left > 0:
            more = Problem(ordered[_MOST_TOLD].line, "", f"and {left} more problems from here on")
            ordered = [*ordered[:_MOST_TOLD], more]
        self.problems = tuple(ordered)
        super().__init__("\n".join(problem_line(file, problem) for problem in self.problems))


def problem_line(file: str, problem: Problem) -> str:
    """Return ``FILE:LINE: key 'KEY': what is wrong; the remedy``."""
    where = f"{file}:{problem.line}" if problem.line else file
    what = f"key '{problem.key}': {problem.message}" if problem.key else problem.message
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in f"{where}: {what}")


def load_cluster(path: Path | str) -> ClusterFile:
    """Read and check a cluster file.

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
    return parse_cluster(text, file)


def parse_cluster(text: str, file: str = "<text>") -> ClusterFile:
    """Check the YAML in `text`; `file` is the name used in messages. Raises ConfigError."""
    try:
        document = parse(text)
    except UnreadableError as error:
        raise ConfigError(file, [Problem(error.line, "", error.message)]) from None
    value = document.value
    if not isinstance(value, dict):
        what = "the file is empty" if value is None else "expected `key: value` lines"
        message = f"{what}; `ai-how init` writes an example"
        raise ConfigError(file, [Problem(document.lines[()], "", message)])
    problems = list(document.problems)
    cluster: ClusterFile | None = None
    try:
        # JSON mode, strict: no text becomes a number but where an amount is meant.
        cluster = ClusterFile.model_validate_json(
            json.dumps(_without_empty_sections(value)), strict=True
        )
    except ValidationError as error:
        told = {problem.key for problem in problems}
        problems += [problem for problem in _problems(error, document) if problem.key not in told]
    if problems or cluster is None:
        raise ConfigError(file, problems)
    return cluster.with_origin(Origin(file, document.lines))


def dotted(path: KeyPath) -> str:
    """Return ``clusters.hpc.compute_nodes[0].cpu`` for a path."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _without_empty_sections(value: Any) -> Any:
    """Drop keys without a value: `slurm:` with every line under it commented out."""
    if isinstance(value, dict):
        return {k: _without_empty_sections(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_empty_sections(item) for item in value]
    return value


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    found: dict[KeyPath, str] = {}
    for item in error.errors(include_url=False):
        path = _real_path(tuple(item["loc"]), document, keep_last=item["type"] == "missing")
        unknown = item["type"] == "extra_forbidden"
        found.setdefault(path, _unknown(path) if unknown else _message(item, path))
    origin = Origin("", document.lines)
    return [Problem(origin.line_of(path), dotted(path), text) for path, text in found.items()]


def _real_path(loc: KeyPath, document: Document, *, keep_last: bool) -> KeyPath:
    """Drop what is not in the file from a location: the index of a group written alone."""
    path: KeyPath = ()
    for part in loc:
        if (*path, part) in document.lines:
            path = (*path, part)
    # a required key that is missing has no line of its own
    return (*path, loc[-1]) if keep_last and path != loc else path


def _unknown(path: KeyPath) -> str:
    parent, key = path[:-1], str(path[-1])
    section = section_at(parent)
    siblings = list(keys_of(section)) if section else []
    meant = nearest_key(key, siblings, valid_paths())
    if meant is None:
        return f"unknown key; valid here: {', '.join(sorted(siblings))}"
    if meant in siblings:
        return f"unknown key; did you mean '{meant}'?"
    return f"unknown key here; '{meant}' is one"


_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_REQUIRED = {
    "version": "write `version: 1`",
    "name": "give it a name, such as `name: laptop`",
    "compute_nodes": "write `compute_nodes: {count: 2, cpu: 1, memory: 1G}`",
    "count": "say how many",
}
_PLAIN = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list, such as [a, b]",
    "dict_type": "must be a section of `key: value` lines",
    "model_type": "must be a section of `key: value` lines",
    "model_attributes_type": "must be a section of `key: value` lines",
}


def _message(item: Any, path: KeyPath) -> str:
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    shown = _show(given)
    if kind == "missing":
        return f"is required; {_REQUIRED.get(key, '`ai-how init` writes an example')}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context[name]:g}, not {shown}"
    if kind == "literal_error":
        choices = [text or number for text, number in _choices(context["expected"])]
        message = f"must be one of {', '.join(choices)}, not {shown}"
        if len(choices) == 1:
            message = f"must be {choices[0]}, not {shown}"
        meant = nearest(given, choices) if isinstance(given, str) else None
        return f"{message}; did you mean '{meant}'?" if meant else message
    if kind == "too_short":
        return f"is empty; give at least {context.get('min_length')}"
    if kind in {"too_long", "string_too_long"}:
        return f"is longer than {context.get('max_length')}"
    if kind in _PLAIN:
        number = re.fullmatch(r"\d+", given) if isinstance(given, str) else None
        hint = f"; write {given} without quotes" if number and kind == "int_type" else ""
        return f"{_PLAIN[kind]}, not {shown}{hint}"
    message = str(item["msg"]).removeprefix("Value error, ").replace("\n", " ")
    return message if kind == "value_error" else f"{message}, not {shown}"


def _choices(expected: str) -> list[tuple[str, str]]:
    return re.findall(r"'([^']*)'|(\d+)", expected)


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
