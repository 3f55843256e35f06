"""Is gamma alive? A watchdog that always reads zero lets every run pass.

A broken active set (.asi) gives gamma = 0 everywhere and no error. So once for each
potential one atom of each element is pushed hard toward its nearest neighbour, which no
healthy active set can miss: gamma must rise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from pyacemaker.dynamics.base import DynamicsError

Array = NDArray[np.float64]

_PUSH = 0.35  # of the distance to the neighbour
_PUSH_RANGE_A = (0.4, 1.0)
_RISE = 1.01
# MaxVol makes gamma about 1 at the edge of the training set; a push lands far beyond it.
_LEAST_GAMMA = 0.1


def probe_displacements(atoms: Atoms, cutoff_A: float) -> dict[int, Array]:
    """Return, for one atom of each element, a push toward its nearest neighbour (angstrom).

    Elements whose atoms have no neighbour within `cutoff_A` are left out: an isolated
    atom's gamma cannot change.
    """
    first, distance, vector = neighbor_list("idD", atoms, cutoff_A)
    probes: dict[int, Array] = {}
    seen: set[str] = set()
    symbols = atoms.get_chemical_symbols()
    order = np.argsort(distance, kind="stable")
    for pair in order:
        index = int(first[pair])
        length = float(distance[pair])
        if symbols[index] in seen or length < 1e-6:
            continue
        seen.add(symbols[index])
        push = float(np.clip(_PUSH * length, *_PUSH_RANGE_A))
        probes[index] = np.asarray(vector[pair] / length * min(push, 0.8 * length))
    return probes


def check_gamma_alive(
    atoms: Atoms,
    cutoff_A: float,
    potential: object,
    gammas: Callable[[Mapping[int, Array]], tuple[Array, Mapping[int, Array]]],
) -> tuple[str, ...]:
    """Raise DynamicsError if gamma does not rise where it must; return warnings.

    `gammas` evaluates displacements of single atoms and returns gamma (N) at the start and
    for each displaced atom.
    """
    probes = probe_displacements(atoms, cutoff_A)
    symbols = np.array(atoms.get_chemical_symbols())
    unseen = sorted(set(symbols) - {symbols[index] for index in probes})
    warnings = tuple(
        f"gamma of {symbol} could not be checked: its atoms have no neighbours in this structure"
        for symbol in unseen
    )
    if not probes:
        return warnings
    start, pushed = gammas(probes)
    for index, found in pushed.items():
        same = symbols == symbols[index]
        if not (np.isfinite(start).all() and np.isfinite(found).all()):
            raise DynamicsError(
                f"gamma of {potential} is not a finite number: its active set (.asi) is "
                "broken; train the potential again"
            )
        if found[same].max() < _LEAST_GAMMA or not np.any(found[same] > _RISE * start[same]):
            raise DynamicsError(
                f"gamma of {symbols[index]} stays at {found[same].max():.3g} when an atom is "
                f"pushed {np.linalg.norm(probes[index]):.2f} angstrom into its neighbour: the "
                f"active set (.asi) of {potential} is broken; train the potential again"
            )
    return warnings
