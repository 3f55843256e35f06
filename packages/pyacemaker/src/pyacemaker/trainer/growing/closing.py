"""Closing the short range of an esper potential, where no label can tell it what to do.

As for ACE (`trainer.closing`): nothing changes at a distance that the data hold. Inside, the
networks see a pair as if it stayed near the shortest distance in the data, and a core repulsion,
as strong as it must be, pushes it apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.short_range import bond_of, distances_of, hole_in
from pyacemaker.trainer.closing import shortest_distances
from rootstock.environments.esper_env import Core, Descriptor, GrownModel, evaluate

_BELOW = 0.98  # of the shortest distance in the data
_DEFAULT_FRACTION = 0.8  # of the covalent bond, for a pair the data never bring together
_WIDTHS = (0.15, 0.05)  # of the inner distance: over which the networks stop seeing
_STRENGTHS = (0.0, 30.0, 300.0, 3e3, 3e4)  # eV angstrom
_DECAY_PER_A2 = 0.5


def close_short_range(
    model: GrownModel, structures: Sequence[Atoms]
) -> tuple[GrownModel, dict[str, Any]]:
    """Return a model whose pairs are safe inside the data, and what was done to which pair.

    `structures` are the training set. What is unsafe at a distance that the data hold cannot be
    mended here: the gate `short_range` refuses it and asks for labels of such pairs.
    """
    pairs = list(combinations_with_replacement(sorted(model.descriptor.elements), 2))
    unsafe = [pair for pair in pairs if hole_of(model, pair)]
    if not unsafe:
        return model, {}
    shortest = shortest_distances(structures, unsafe)
    done: dict[str, Any] = {}
    for pair in unsafe:
        bond = bond_of(*pair)
        inner = _BELOW * min(shortest.get(pair, np.inf), _DEFAULT_FRACTION / _BELOW * bond)
        model, core = _closed(model, pair, inner)
        done["-".join(pair)] = {
            "inner_A": round(core.inner_A, 6),
            "width_A": round(core.width_A, 6),
            "core_strength_eV_A": core.strength_eV_A,
        }
    return model, done


def hole_of(
    model: GrownModel, pair: tuple[str, str], below_A: float = np.inf
) -> tuple[float, str] | None:
    """Return where and how a pair's energy is unsafe (below a distance); None where it is safe."""
    distances = distances_of(*pair)
    distances = distances[distances < below_A]
    alone: Mapping[str, float] = model.reference_energies
    zero = alone[pair[0]] + alone[pair[1]]
    energies = [
        evaluate(model, Atoms(list(pair), [[0, 0, 0], [0, 0, r]]))["energy"] - zero
        for r in distances
    ]
    return hole_in(distances, np.array(energies), bond_of(*pair))


def _closed(model: GrownModel, pair: tuple[str, str], inner: float) -> tuple[GrownModel, Core]:
    """Return the gentlest closure that is safe everywhere, else inside `inner`, else the last."""
    second_best = None
    for strength in _STRENGTHS:
        for width in _WIDTHS:
            core = Core(pair, inner, width * inner, strength, _DECAY_PER_A2)
            tried = with_cores(model, (*model.descriptor.cores, core))
            if hole_of(tried, pair) is None:
                return tried, core
            if second_best is None and hole_of(tried, pair, inner) is None:
                second_best = tried, core
    return second_best or (tried, core)


def with_cores(model: GrownModel, cores: Sequence[Core]) -> GrownModel:
    """Return the model with these closures."""
    old = model.descriptor
    return replace(
        model, descriptor=Descriptor(old.elements, old.cutoff_A, old.functions, tuple(cores))
    )
