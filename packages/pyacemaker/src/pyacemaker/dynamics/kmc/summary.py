"""What is told of a walk: its processes with rates, its time line, its searches."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pyacemaker.dynamics.kmc.base import KMCResult
from pyacemaker.dynamics.kmc.prefactor import rate
from pyacemaker.dynamics.kmc.settings import KMCSettings

_MOST_PROCESSES = 200
_MOST_HOPS = 1000


def summary_of(result: KMCResult, settings: KMCSettings) -> dict[str, Any]:
    """Return a walk as plain JSON values.

    `processes` (fastest first): state, mechanism, barrier_eV, reverse_barrier_eV,
    prefactor_THz, rate_per_s of one copy at the walk's temperature, copies, found, gamma.
    `time_line`: time_s, energy_eV, state, barrier_eV of each hop with this potential.
    `searches`: how many ended how; `gamma_trace`: the largest gamma of each search.
    """
    kelvin = settings.temperature_K
    processes = [
        {
            "state": state.number,
            "mechanism": one.number,
            "barrier_eV": one.barrier_eV,
            "reverse_barrier_eV": one.reverse_barrier_eV,
            "prefactor_THz": one.prefactor_THz,
            "rate_per_s": rate(one.barrier_eV, one.prefactor_THz, kelvin),
            "copies": len(one.copies),
            "found": one.found,
            "gamma": one.gamma,
        }
        for state in result.states
        for one in state.mechanisms
    ]
    processes.sort(key=lambda row: (-float(row["rate_per_s"] or 0), row["state"]))
    every = max(1, -(-len(result.hops) // _MOST_HOPS))
    return {
        "events": settings.events,
        "hops_done": len(result.hops),
        "time_s": result.time_s,
        "states": len(result.states),
        "confidence": min((s.confidence for s in result.states if s.mechanisms), default=0.0),
        "searches": dict(Counter(search.outcome for search in result.searches)),
        "processes": processes[:_MOST_PROCESSES],
        "time_line": [
            [hop.time_s, hop.energy_eV, hop.state, hop.barrier_eV] for hop in result.hops[::every]
        ],
        "gamma_trace": [
            search.gamma_max for search in result.searches if search.gamma_max is not None
        ],
    }
