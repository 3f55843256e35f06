"""How sure a linear fit is of its forces: the spread of its coefficients, kept beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """The coefficients of a linear fit are N(c, root root^T); `root` is F x F (eV)."""

    root: Array

    def forces_std(self, rows: Array) -> Array:
        """Return the standard deviation of force components (eV/angstrom) with rows (... x F)."""
        return np.asarray(np.sqrt(((rows @ self.root) ** 2).sum(axis=-1)))

    def write(self, stream: BinaryIO) -> None:
        """Write a plain array (.npz)."""
        np.savez(stream, root=self.root)

    @classmethod
    def read(cls, path: Path) -> Posterior:
        """Read what `write` wrote; nothing is unpickled."""
        with np.load(path, allow_pickle=False) as found:
            return cls(np.asarray(found["root"], dtype=float))
