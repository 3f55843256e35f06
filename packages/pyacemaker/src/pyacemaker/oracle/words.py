"""Command lines as people write them."""

from __future__ import annotations

import shlex
from typing import Any


def words(value: Any) -> Any:
    """Take a shell-like line, or a list, for the tuple of words it means."""
    if isinstance(value, str):
        return tuple(shlex.split(value))
    return tuple(value) if isinstance(value, list) else value
