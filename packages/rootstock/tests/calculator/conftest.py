"""Structures and environment files that the tests share."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk


@pytest.fixture
def copper() -> Atoms:
    """Return 32 rattled copper atoms in a strained cell that is not symmetric."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    shear = np.array([[0.1, 0.2, 0.0], [0.0, -0.1, 0.3], [0.2, 0.0, 0.1]])
    atoms.set_cell(atoms.cell.array + shear, scale_atoms=True)
    atoms.rattle(0.05, seed=3)
    return atoms


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], Path]:
    """Write an environment file and return its path."""

    def write(text: str, name: str = "model.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write
