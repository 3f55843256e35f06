"""What was found with one potential, looked at again with another."""

from __future__ import annotations

from dataclasses import replace

from ase import Atoms

from pyacemaker.dynamics.kmc.climb import climb
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError
from pyacemaker.dynamics.kmc.search import judged
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.dynamics.kmc.table import State


def rechecked(state: State, landscape: Landscape, settings: KMCSettings) -> State:
    """Return the state as it is on another landscape: minimum, saddle points, prefactors.

    The minimum is relaxed, every saddle point climbed to again from where it was. A way that
    is not found any more, or leads elsewhere, is dropped; the searches go on until the
    confidence is reached anew. Raises UncertainError where gamma is too large on the way.
    """
    minimum, energy = landscape.relaxed(state.atoms, settings.fmax_eV_per_A, settings.max_steps)
    fresh = replace(
        state,
        atoms=minimum,
        energy_eV=energy,
        potential=landscape.name,
        streak=0,
        mechanisms=(),
    )
    for old in state.mechanisms:
        start: Atoms = minimum.copy()
        try:
            saddle = climb(start, energy, old.saddle, old.mode, landscape, settings)
            found = judged(fresh, saddle, landscape, settings)
        except LostSearchError:
            continue
        if found.outcome == "new":
            last = found.state.mechanisms[-1]
            kept = replace(last, found=old.found)
            fresh = replace(fresh, mechanisms=(*found.state.mechanisms[:-1], kept))
    return fresh
