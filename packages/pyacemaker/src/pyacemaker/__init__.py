"""PYACEMAKER: from a list of elements to a certified interatomic potential.

`pyacemaker.validate(calculator, structure)` puts any ASE calculator through the gates; see
docs/validation.md.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_FROM = {
    "validate": "pyacemaker.validator.run",
    "Verdict": "pyacemaker.validator.run",
    "ValidationSettings": "pyacemaker.validator.settings",
}


def __getattr__(name: str) -> Any:
    """Load on first use: `pyacemaker --help` need not wait for the physics."""
    if name in _FROM:
        from importlib import import_module

        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
