"""Tables of regular expressions, tried from top to bottom."""

from __future__ import annotations

import re

Table = tuple[tuple[re.Pattern[str], str], ...]


def table(rows: tuple[tuple[str, str], ...]) -> Table:
    """Compile the patterns of a table of (pattern, class)."""
    return tuple((re.compile(pattern), name) for pattern, name in rows)


def plain(text: str) -> str:
    """Return `text` in lower case with single blanks, as the patterns expect it."""
    return " ".join(text.lower().split())
