"""Which engine walks."""

from __future__ import annotations

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.adaptive import AdaptiveKMC
from pyacemaker.dynamics.kmc.base import KMCEngine
from pyacemaker.dynamics.kmc.settings import KMCSettings


def make_kmc(settings: KMCSettings | None) -> KMCEngine:
    """Return the engine asked for; the built-in one where nothing is.

    Raises DynamicsError, with the remedy, where EON is asked for: it cannot be had.
    """
    if settings is not None and settings.engine == "eon":
        raise DynamicsError(
            "kmc.engine: eon is unavailable: eon-akmc cannot be built from the package indexes "
            "(docs/kmc.md says what is missing); use kmc.engine: builtin"
        )
    return AdaptiveKMC()
