"""ASE's Lennard-Jones potential; sigma, epsilon, rc, ro and smooth are its options."""

from typing import Any

from ase.calculators.lj import LennardJones


def setup(model: str, device: str, **kwargs: Any) -> LennardJones:
    """Return the calculator; `model` and `device` mean nothing here."""
    return LennardJones(**kwargs)
