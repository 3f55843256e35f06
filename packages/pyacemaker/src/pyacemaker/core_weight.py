"""Which atoms of a label count: those of the core of an embedded cell, or all.

A cell cut out of a larger box (`generator.embedding`) carries the array ``core_weight``: 1
for the atoms whose surroundings are those of the box, 0 for the buffer, whose surroundings
its periodic images made up. The oracle's numbers are right for the cell as it is; only the
core's are about the material.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

CORE_WEIGHT = "core_weight"


def is_embedded(atoms: Atoms) -> bool:
    """Say whether some atoms of the structure are only a buffer."""
    return CORE_WEIGHT in atoms.arrays


def core_weights(atoms: Atoms) -> NDArray[np.float64]:
    """Return the weight of each atom's forces, from 0 to 1; all 1 for an ordinary structure."""
    if not is_embedded(atoms):
        return np.ones(len(atoms))
    weights: NDArray[np.float64] = np.asarray(atoms.arrays[CORE_WEIGHT], dtype=float)
    return weights.clip(0.0, 1.0)
