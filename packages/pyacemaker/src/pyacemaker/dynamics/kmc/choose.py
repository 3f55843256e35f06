"""Which engine walks."""

from __future__ import annotations

from pyacemaker.dynamics.kmc.adaptive import AdaptiveKMC
from pyacemaker.dynamics.kmc.base import KMCEngine
from pyacemaker.dynamics.kmc.eon.engine import EONKMC
from pyacemaker.dynamics.kmc.eon.installation import find_eon
from pyacemaker.dynamics.kmc.settings import KMCSettings


def make_kmc(settings: KMCSettings | None) -> KMCEngine:
    """Return the engine asked for; the built-in one where nothing is.

    Raises DynamicsError, with the remedy, where EON is asked for and is not there.
    """
    if settings is not None and settings.engine == "eon":
        return EONKMC(find_eon(settings.eon))
    return AdaptiveKMC()
