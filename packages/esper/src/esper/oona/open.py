"""A bus by its URL."""

from __future__ import annotations

from esper.oona.base import Bus, BusError
from esper.oona.memory import MemoryBus

TRAINING = "training"
"""The topic of what trainings tell."""

LIBRARY = "library"
"""The topic of what the library and its forges tell."""


def open_bus(url: str) -> Bus:
    """Open `memory:` (inside this process), `redis://...`, `rediss://...` or `unix:///SOCKET`."""
    scheme = url.split(":", maxsplit=1)[0]
    if scheme == "memory":
        return MemoryBus()
    if scheme not in {"redis", "rediss", "unix"}:
        raise BusError(f"no bus {url!r}; use memory: or redis://HOST:PORT")
    try:
        from esper.oona.redis import RedisBus
    except ImportError:
        raise BusError("Redis needs `pip install pyacemaker-esper[services]`") from None
    return RedisBus(url)
