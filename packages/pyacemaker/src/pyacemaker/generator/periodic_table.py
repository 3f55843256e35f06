"""What pymatgen knows of an element."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def element(symbol: str) -> Any:
    """Return pymatgen's Element (imported late: it takes a good part of a second)."""
    from pymatgen.core.periodic_table import Element

    return Element(symbol)
