"""The product: a directory that holds one interatomic potential and knows whether it is whole."""

from pyacemaker.potential.calculator import HybridCalculator
from pyacemaker.potential.directory import Potential, write_potential
from pyacemaker.potential.manifest import Manifest, PotentialError

__all__ = ["HybridCalculator", "Manifest", "Potential", "PotentialError", "write_potential"]
