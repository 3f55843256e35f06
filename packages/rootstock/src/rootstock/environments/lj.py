"""The Lennard-Jones potential, as in ASE; needs no environment. Its defaults are argon's.

A. Rahman, Phys. Rev. 136, A405 (1964): sigma = 3.4 angstrom, epsilon = 120 K.
"""

from __future__ import annotations

from typing import Any

from ase.calculators.lj import LennardJones
from ase.units import kB

_SIGMA_A = 3.4
_EPSILON_EV = 120.0 * kB


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return ASE's LennardJones; `sigma` and `rc` in angstrom, `epsilon` in eV.

    It is cut off smoothly at 3 sigma where nothing else is asked for, and runs on the CPU,
    whatever `device` says.
    """
    if model:
        raise ValueError(f"lj has no models to choose from, not {model!r}; give sigma and epsilon")
    options = {"sigma": _SIGMA_A, "epsilon": _EPSILON_EV, "smooth": True} | kwargs
    options.setdefault("rc", 3.0 * float(options["sigma"]))
    return LennardJones(**options)
