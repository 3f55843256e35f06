"""The text of an input of pw.x as namelists that can be changed, and written again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyacemaker.oracle.espresso.pw_input import Value, fortran

_GROUP = re.compile(r"^\s*&(\w+)\s*(.*)$")
_PAIR = re.compile(
    r"([A-Za-z_]\w*(?:\s*\([\d\s,]+\))?)\s*=\s*('(?:[^']|'')*'|\"[^\"]*\"|[^,!\s'\"][^,!\n]*)"
)
_INTEGER = re.compile(r"[-+]?\d+")


@dataclass(frozen=True)
class PwInput:
    """An input of pw.x: namelists in order, and the cards after them as they were written.

    Names of namelists are in capitals, keys in small letters. Immutable: `changed` and
    `without` return another.
    """

    namelists: Mapping[str, Mapping[str, Value]]
    cards: str
    head: str = ""

    @classmethod
    def parse(cls, text: str) -> PwInput:
        """Read an input. What is no namelist is kept as head or cards; never raises."""
        head: list[str] = []
        cards: list[str] = []
        groups: dict[str, dict[str, Value]] = {}
        name: str | None = None
        for line in text.splitlines():
            rest = line
            if name is None:
                found = _GROUP.match(line)
                if found is None:
                    (cards if groups else head).append(line)
                    continue
                name, rest = found[1].upper(), found[2]
                groups.setdefault(name, {})
            body = _uncommented(rest)
            for key, value in _PAIR.findall(body):
                groups[name][re.sub(r"\s", "", key.lower())] = _value(value.strip())
            if _ends(body):
                name = None
        return cls(groups, "\n".join(cards) + "\n", "\n".join(head) + "\n" if head else "")

    def text(self) -> str:
        """Return the input as text."""
        lines = []
        for name, values in self.namelists.items():
            lines += [f"&{name}", *(f"  {key} = {fortran(v)}" for key, v in values.items()), "/"]
        return self.head + "\n".join(lines) + "\n" + self.cards

    def get(self, name: str, key: str, default: Value | None = None) -> Value | None:
        """Return the value of a key, or `default`."""
        return self.namelists.get(name, {}).get(key, default)

    def number(self, name: str, key: str, default: float) -> float:
        """Return the value of a key as a number, `default` where it is none."""
        value = self.get(name, key)
        return float(value) if isinstance(value, int | float) else default

    def changed(self, name: str, **values: Value) -> PwInput:
        """Return the input with keys of one namelist set."""
        groups = {key: dict(group) for key, group in self.namelists.items()}
        groups.setdefault(name, {}).update(values)
        return replace(self, namelists=groups)

    def without(self, name: str, *keys: str) -> PwInput:
        """Return the input without keys of one namelist."""
        groups = {key: dict(group) for key, group in self.namelists.items()}
        for key in keys:
            groups.get(name, {}).pop(key, None)
        return replace(self, namelists=groups)


def differences(before: PwInput, after: PwInput) -> dict[str, tuple[Value | None, Value | None]]:
    """Return the keys whose values differ, as ``SYSTEM.degauss: (old, new)``."""
    found: dict[str, tuple[Value | None, Value | None]] = {}
    for name in {**before.namelists, **after.namelists}:
        old, new = before.namelists.get(name, {}), after.namelists.get(name, {})
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                found[f"{name}.{key}"] = (old.get(key), new.get(key))
    return found


def _uncommented(line: str) -> str:
    quote = ""
    for number, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "!":
            return line[:number]
    return line


def _ends(body: str) -> bool:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", body).strip()
    return bare.endswith("/") or bare.lower() == "&end"


def _value(word: str) -> Value:
    word = word.rstrip().removesuffix("/").rstrip() if word[:1] not in "'\"" else word
    if word[:1] in "'\"":
        return word[1:-1]
    lower = word.lower()
    if lower in {".true.", ".t.", "t", "true"}:
        return True
    if lower in {".false.", ".f.", "f", "false"}:
        return False
    if _INTEGER.fullmatch(word):
        return int(word[:18])
    try:
        return float(lower.replace("d", "e"))
    except ValueError:
        return word
