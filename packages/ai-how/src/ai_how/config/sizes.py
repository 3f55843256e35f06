"""Amounts of memory and disk, as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_MIB_OF = {"": 1, "M": 1, "G": 1024, "T": 1024**2}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([MGT]?)(?:i?B)?\s*", re.IGNORECASE)


def parse_mib(value: Any) -> int:
    """Return MiB for ``512M``, ``2G``, ``1.5 GiB``, ``1T`` or a bare number of MiB.

    Raises ValueError for what is no amount. G and GiB are the same, as in SLURM.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be an amount such as 2G or 512M, not {value!r}")
    found = _AMOUNT.fullmatch(str(value))
    if found is None:
        raise ValueError(f"must be an amount such as 2G or 512M, not {value!r}")
    return int(float(found[1]) * _MIB_OF[found[2].upper()])


def format_mib(mib: int) -> str:
    """Return ``2G`` for 2048 and ``1500M`` for 1500."""
    return f"{mib // 1024}G" if mib and mib % 1024 == 0 else f"{mib}M"


MiB = Annotated[
    int,
    BeforeValidator(parse_mib),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "integer", "minimum": 1, "description": "MiB"},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[MGTmgt]?(i?B)?$"},
            ]
        }
    ),
    Field(ge=1),
]
