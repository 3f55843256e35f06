"""Closing the short range of a fitted potential, where no label can tell it what to do.

Inside the shortest distance that the data hold, an ACE is free to fall. Where a pair's energy
does, its radial functions are switched off there and pyace's core repulsion is switched on
instead (`r_in`, `delta_in` and `core-repulsion` of a bond: Lysogorskiy et al., npj Comput.
Mater. 7, 97 (2021)), as strong as it must be for the pair to be safe. Nothing changes at a
distance that the data hold, so neither does the fit, nor its active set. LAMMPS knows all
three. What is safe as it is stays as it is; what is unsafe at a distance that the data do hold
cannot be mended here: the gate `short_range` refuses it and asks for labels of such pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.evaluator import ACEBEvaluator

from pyacemaker.potential.environment import atomic_environment
from pyacemaker.short_range import bond_of, distances_of, hole_in
from pyacemaker.trainer.baseline import ZblBaseline

Array = NDArray[np.float64]

_BELOW = 0.98  # of the shortest distance in the data
_DEFAULT_FRACTION = 0.8  # of the covalent bond, for a pair the data never bring together
_WIDTHS = (0.3, 0.15)  # of the inner cutoff: over which ACE and core are exchanged
_DECAYS = (1.0, 2.0)  # per angstrom^2
_STRENGTHS = (0.0, 30.0, 300.0, 3e3, 3e4)  # eV angstrom


def close_short_range(
    basis: ACEBBasisSet, baseline: ZblBaseline, structures: Sequence[Atoms]
) -> tuple[ACEBBasisSet, dict[str, Any]]:
    """Return a basis whose pairs are safe with `baseline` inside the data, and what was done.

    `structures` are the training set.
    """
    elements = list(basis.elements_name)
    pairs = list(combinations_with_replacement(elements, 2))
    unsafe = [pair for pair in pairs if hole_of(basis, baseline, pair)]
    done: dict[str, Any] = {}
    if not unsafe:
        return basis, done
    shortest = shortest_distances(structures, unsafe)
    for pair in unsafe:
        bond = bond_of(*pair)
        inner = _BELOW * min(shortest.get(pair, np.inf), _DEFAULT_FRACTION / _BELOW * bond)
        basis, done["-".join(pair)] = _closed(basis, baseline, pair, inner)
    return basis, done


def hole_of(
    basis: ACEBBasisSet, baseline: ZblBaseline, pair: tuple[str, str], below_A: float = np.inf
) -> tuple[float, str] | None:
    """Return where and how a pair's energy is unsafe (below a distance); None where it is safe."""
    evaluator = ACEBEvaluator(basis)
    calculator = ACECalculator()
    calculator.set_evaluator(evaluator)
    species = dict(basis.elements_to_index_map)
    distances = distances_of(*pair)
    distances = distances[distances < below_A]
    energies = []
    for r in distances:
        atoms = Atoms(list(pair), [[0, 0, 0], [0, 0, r]])
        calculator.compute(atomic_environment(atoms, float(basis.cutoffmax), species))
        energies.append(float(calculator.energy) + baseline.compute(atoms).energy)
    return hole_in(distances, np.array(energies), bond_of(*pair))


def shortest_distances(
    structures: Sequence[Atoms], pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """Return the shortest distance (angstrom) of each pair that comes within its bond by half."""
    found: dict[tuple[str, str], float] = {}
    for atoms in structures:
        symbols = np.array(atoms.get_chemical_symbols())
        i, j, d = neighbor_list("ijd", atoms, 1.5 * max(bond_of(*pair) for pair in pairs))
        for pair in pairs:
            near = d[(symbols[i] == pair[0]) & (symbols[j] == pair[1])]
            if len(near):
                found[pair] = min(found.get(pair, np.inf), float(near.min()))
    return found


def _closed(
    basis: ACEBBasisSet, baseline: ZblBaseline, pair: tuple[str, str], inner: float
) -> tuple[ACEBBasisSet, Mapping[str, float]]:
    """Return the gentlest closure that is safe everywhere, else inside `inner`, else the last."""
    second_best = None
    for strength in _STRENGTHS:
        for width in _WIDTHS:
            for decay in _DECAYS if strength > 0.0 else _DECAYS[:1]:
                tried = _with_core(basis, pair, inner, width * inner, (strength, decay))
                about = {
                    "inner_cutoff_A": round(inner, 6),
                    "width_A": round(width * inner, 6),
                    "core_strength_eV_A": strength,
                    "core_decay_per_A2": decay,
                }
                if hole_of(tried, baseline, pair) is None:
                    return tried, about
                if second_best is None and hole_of(tried, baseline, pair, inner) is None:
                    second_best = tried, about
    return second_best or (tried, about)


def _with_core(
    basis: ACEBBasisSet,
    pair: tuple[str, str],
    inner: float,
    width: float,
    core: tuple[float, float],
) -> ACEBBasisSet:
    configuration = basis.to_BBasisConfiguration()
    blocks = configuration.funcspecs_blocks
    for block in blocks:
        if set(block.elements_vec) == set(pair) and len(block.elements_vec) <= 2:
            block.r_in, block.delta_in = inner, width
            block.inner_cutoff_type = "distance"
            block.core_rep_parameters = list(core)
    configuration.funcspecs_blocks = blocks
    return ACEBBasisSet(configuration)
