"""A model that computes nothing, to measure what is round it."""

from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Null(Calculator):
    """Zero energy, forces and stress; does what ASE's `Calculator.calculate` does not."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def calculate(
        self, atoms: Any = None, properties: Any = (), system_changes: Any = tuple(all_changes)
    ) -> None:
        """Set results of the right shapes."""
        self.atoms = atoms.copy()
        self.results = {
            "energy": 0.0,
            "free_energy": 0.0,
            "forces": np.zeros((len(atoms), 3)),
            "stress": np.zeros(6),
        }


def setup(model: str, device: str, **kwargs: Any) -> Null:
    """Return the calculator."""
    return Null()
