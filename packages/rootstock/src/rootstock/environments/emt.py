"""Effective medium theory, as in ASE (Al, Cu, Ag, Au, Ni, Pd, Pt); needs no environment.

K. W. Jacobsen, P. Stoltze, J. K. Norskov, Surf. Sci. 366, 394 (1996).
"""

from __future__ import annotations

from typing import Any

from ase.calculators.emt import EMT


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return ASE's EMT; `kwargs` go to it. It runs on the CPU, whatever `device` says."""
    if model:
        raise ValueError(f"emt has no models to choose from, not {model!r}")
    return EMT(**kwargs)
