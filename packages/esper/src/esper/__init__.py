"""Esper: networks that grow their own architecture while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from esper.kasmina import KasminaLayer, MorphableModel, unwrap, wrap

__all__ = ["KasminaLayer", "MorphableModel", "__version__", "unwrap", "wrap"]


def __getattr__(name: str) -> Any:
    """Import torch only when the library is used, so that `esper --help` is quick."""
    if name in __all__:
        from esper import kasmina

        return getattr(kasmina, name)
    raise AttributeError(f"module 'esper' has no attribute {name!r}")
