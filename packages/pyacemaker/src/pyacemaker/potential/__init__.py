"""The product: a directory that holds one interatomic potential and knows whether it is whole."""

from pyacemaker.potential.directory import Potential, write_potential
from pyacemaker.potential.manifest import Manifest, PotentialError

__all__ = ["Manifest", "Potential", "PotentialError", "write_potential"]
