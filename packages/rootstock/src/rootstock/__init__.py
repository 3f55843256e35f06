"""Any interatomic potential, in an environment of its own, as one ASE calculator.

Names are imported when they are first used: a worker, which imports this package in every
model's environment, must not pay for what it does not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rootstock.calculator import RootstockCalculator
    from rootstock.errors import (
        ModelError,
        ModelSetupError,
        NotFiniteError,
        ProtocolError,
        RootstockError,
        UnsupportedChangeError,
        WorkerDiedError,
        WorkerError,
        WorkerTimeoutError,
    )
    from rootstock.server.calculator import IPICalculator

__version__ = "0.1.0"

__all__ = [
    "IPICalculator",
    "ModelError",
    "ModelSetupError",
    "NotFiniteError",
    "ProtocolError",
    "RootstockCalculator",
    "RootstockError",
    "UnsupportedChangeError",
    "WorkerDiedError",
    "WorkerError",
    "WorkerTimeoutError",
]

_WHERE = {
    "RootstockCalculator": "rootstock.calculator",
    "IPICalculator": "rootstock.server.calculator",
}


def __getattr__(name: str) -> Any:
    """Import a public name from where it is defined."""
    if name not in __all__:
        raise AttributeError(f"module 'rootstock' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE.get(name, "rootstock.errors")), name)
