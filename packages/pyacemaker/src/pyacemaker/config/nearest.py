"""The nearest valid name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from ase.data import atomic_names, chemical_symbols

SYMBOLS: tuple[str, ...] = tuple(chemical_symbols[1:])
_ENOUGH = 0.6
# What other codes call the same thing.
_ALSO_CALLED = {
    "species": "elements",
    "symbols": "elements",
    "atoms": "elements",
    "dft": "oracle",
    "calculator": "oracle",
    "potential": "trainer",
    "ace": "trainer",
    "md": "dynamics",
    "temperature": "temperatures_K",
    "max_labels": "budget.labels",
    "hours": "budget.hours",
    "labels": "budget.labels",
    "cores": "workers",
}


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name most like `name` (case and a unit's suffix count little), or None."""
    scored = sorted(((_likeness(name, other), other) for other in valid), reverse=True)
    return scored[0][1] if scored and scored[0][0] >= _ENOUGH else None


def nearest_key(key: str, siblings: Iterable[str], everywhere: Iterable[str]) -> str | None:
    """Return the valid key most like `key`, or None.

    `siblings` are the valid keys where `key` stands; `everywhere` the dotted paths of all
    keys. A sibling wins unless a key elsewhere is much more like it; a key from
    elsewhere comes back as its dotted path.
    """
    here = [(_likeness(key, other) + 0.1, other) for other in siblings]
    there = [(_likeness(key, path.rpartition(".")[2]), path) for path in everywhere]
    best = max([*here, *[item for item in there if item[0] >= 0.8]], default=(0.0, ""))
    if best[0] >= _ENOUGH + 0.1:
        return best[1]
    return _ALSO_CALLED.get(key.lower())


def nearest_symbol(text: str) -> str | None:
    """Return the element meant by `text`: ``si``, ``SI``, ``silicon``, ``Sii``; or None."""
    word = text.strip()
    if word.capitalize() in SYMBOLS:
        return word.capitalize()
    names = {
        name.lower(): symbol for name, symbol in zip(atomic_names, chemical_symbols, strict=True)
    }
    names |= {"aluminum": "Al", "sulphur": "S", "cesium": "Cs", "d": "H", "t": "H"}
    if word.lower() in names:
        found = names[word.lower()]
        return found if found in SYMBOLS else None
    if len(word) > 3 and (close := nearest(word.lower(), names)) is not None:
        return names[close] if names[close] in SYMBOLS else None
    for length in (2, 1):
        if word[:length].capitalize() in SYMBOLS:
            return word[:length].capitalize()
    return None


def _likeness(first: str, second: str) -> float:
    """Return 0 (nothing in common) to 1 (equal, but for case and a unit's suffix)."""
    a, b = first.lower(), second.lower()
    scores = [SequenceMatcher(None, a, b).ratio()]
    for short_a, short_b in ((a, _without_unit(b)), (_without_unit(a), _without_unit(b))):
        if short_b:
            scores.append(SequenceMatcher(None, short_a, short_b).ratio() - 0.01)
            if len(short_a) >= 4 and short_b.startswith(short_a):
                scores.append(0.75)
    return max(scores)


def _without_unit(key: str) -> str:
    units = ("_per_atom", "_per_a", "_ev", "_ry", "_fs", "_ps", "_gpa", "_thz", "_a", "_k", "_s")
    shorter = True
    while shorter:
        shorter = False
        for unit in units:
            if key.endswith(unit) and len(key) > len(unit):
                key, shorter = key[: -len(unit)], True
    return key
