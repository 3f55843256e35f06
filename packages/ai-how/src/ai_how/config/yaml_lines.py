"""YAML into plain values, with the line of every key.

The values follow YAML 1.2: only `true` and `false` are booleans, so that a partition may be
called `on`; a time `1:30` and an address such as `0000:01:00.0` stay text, and `010` is ten.
Aliases, tags and repeated keys are refused, and so are files too large or too deep to be a
configuration: nothing that a file says can run code or fill the memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_MAX_BYTES = 200_000
_MAX_DEPTH = 20
_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null"))

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file; `line` counts from 1."""

    line: int | None
    key: str
    message: str


class UnreadableError(ValueError):
    """The file is not YAML that can be read at all."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True)
class Document:
    """The value of a file, the line of every key and item, and keys given twice."""

    value: Any
    lines: dict[KeyPath, int]
    problems: tuple[Problem, ...]


class _Loader(yaml.SafeLoader):
    """Composes nodes; scalars are resolved by YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.events.AliasEvent):
            raise UnreadableError(
                f"'*{event.anchor}': aliases are not allowed here; write the value out",
                _line(event),
            )
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnreadableError(f"nested more than {_MAX_DEPTH} levels deep", _line(event))
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _name, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(_CORE + _name, re.compile(_pattern), list(_first))


def read_text(path: Path) -> str:
    """Return the text of a configuration file; raises UnreadableError saying what to do."""
    try:
        if path.is_dir():
            raise UnreadableError("is a folder, not a file; name the YAML file in it")
        if not path.exists():
            raise UnreadableError("there is no such file; `ai-how init` writes one")
        if not path.is_file():
            raise UnreadableError("is not a regular file")
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from None
    except ValueError as error:  # a NUL in the name
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"is not a file name ({error})") from None
    if len(data) > _MAX_BYTES:
        raise UnreadableError(
            f"is larger than {_MAX_BYTES // 1000} kB; that is no configuration file"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UnreadableError(
            f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", line
        ) from None


def parse(text: str) -> Document:
    """Parse one YAML document. Raises UnreadableError; keys given twice are collected."""
    if len(text) > _MAX_BYTES:
        raise UnreadableError("is too large for a configuration")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        what = f"character {error.character!r} is not allowed"
        raise UnreadableError(what, line) from None
    except yaml.MarkedYAMLError as error:
        raise UnreadableError(*_explain(error, text)) from None
    lines: dict[KeyPath, int] = {(): 1}
    problems: list[Problem] = []
    value = None if node is None else _value(node, (), lines, problems)
    return Document(value, lines, tuple(problems))


def _line(place: Any) -> int:
    """Return the line (from 1) at which a node or an event of PyYAML begins."""
    return int(place.start_mark.line) + 1


def _explain(error: yaml.MarkedYAMLError, text: str) -> tuple[str, int | None]:
    problem = str(error.problem or "not YAML")
    mark = error.problem_mark or error.context_mark
    if "could not find expected ':'" in problem:
        mark = error.context_mark or mark  # the problem is seen only on the line after
    line = mark.line + 1 if mark else None
    rows = text.splitlines()
    row = rows[mark.line] if mark and mark.line < len(rows) else ""
    if "'\\t'" in problem or "\t" in row[: len(row) - len(row.lstrip())]:
        return "a tab is used for indentation; use spaces", line
    if "expected a single document" in str(error.context or ""):
        return "a second document begins (---); a configuration is one document", line
    if "mapping values are not allowed" in problem:
        return "a ':' where none is expected; indent sections alike, one key a line", line
    if "could not find expected ':'" in problem:
        return "a line without ':'; write `key: value`", line
    if error.context and "flow" in error.context:
        opened = error.context_mark
        where = f" opened on line {opened.line + 1}" if opened else ""
        return f"the bracket{where} is not closed or lacks a comma", line
    return f"not YAML: {problem}", line


def _value(node: Any, path: KeyPath, lines: dict[KeyPath, int], problems: list[Problem]) -> Any:
    lines.setdefault(path, _line(node))
    if isinstance(node, yaml.MappingNode):
        _refuse_tag(node, "map")
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise UnreadableError("a key must be a word", line)
            key = _clean(key_node)
            inner = (*path, key)
            if key in found:
                problems.append(
                    Problem(
                        line,
                        ".".join(map(str, inner)),
                        f"is given twice (first on line {lines[inner]}); keep one",
                    )
                )
                continue
            lines[inner] = line
            found[key] = _value(value_node, inner, lines, problems)
        return found
    if isinstance(node, yaml.SequenceNode):
        _refuse_tag(node, "seq")
        return [
            _value(item, (*path, index), lines, problems) for index, item in enumerate(node.value)
        ]
    return _scalar(node)


def _refuse_tag(node: Any, allowed: str) -> None:
    if node.tag != _CORE + allowed:
        name = node.tag.replace(_CORE, "!!")
        raise UnreadableError(f"the tag {name} is not allowed here", _line(node))


def _scalar(node: Any) -> Any:
    if node.tag not in _SCALAR_TAGS:
        _refuse_tag(node, "str")
    kind, text = node.tag.removeprefix(_CORE), _clean(node)
    try:
        if kind == "int":
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if kind == "float":
            return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise UnreadableError(f"{text[:40]!r} is not a {kind}", _line(node)) from None
    return None if kind == "null" else text


def _clean(node: Any) -> str:
    """Return a scalar's text; half characters (surrogates, by an escape) are refused."""
    text = str(node.value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UnreadableError("holds half a character (a surrogate); remove it", _line(node))
    return text
