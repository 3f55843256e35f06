"""Real, cheap labels for tests: ASE's effective medium theory (EMT) for Cu, Au, Al."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.provenance import tag

LATTICE_A = {"Cu": 3.6, "Au": 4.06, "Al": 4.0}


def labelled(atoms: Atoms) -> Atoms:
    """Return `atoms` with EMT's energy, forces and (with a cell) stress, plus a constant shift."""
    work = atoms.copy()
    work.calc = EMT()
    results = {"energy": work.get_potential_energy(), "forces": work.get_forces()}
    if atoms.cell.rank == 3:
        results["stress"] = work.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def reference_energies(elements: Sequence[str]) -> dict[str, float]:
    """Return EMT's isolated-atom energies (eV)."""
    return {e: labelled(Atoms(e)).calc.results["energy"] for e in elements}


def rattled(
    elements: Sequence[str],
    count: int,
    seed: int,
    rattle_A: float = 0.08,
    strain: float = 0.03,
    per_group: int = 4,
) -> list[Atoms]:
    """Return labelled 8-atom fcc cells, strained and rattled, of random composition."""
    rng = np.random.default_rng(seed)
    lattice = float(np.mean([LATTICE_A[e] for e in elements]))
    structures = []
    for n in range(count):
        atoms = bulk("Cu", "fcc", a=lattice, cubic=True) * (2, 1, 1)
        atoms.symbols[:] = rng.choice(list(elements), len(atoms))
        bend = rng.uniform(-strain, strain, size=(3, 3))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + (bend + bend.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(scale=rattle_A, size=atoms.positions.shape)
        tag(atoms, "rattle", f"rattle-{seed}-{n // per_group}")
        structures.append(labelled(atoms))
    return structures
