"""One basis of two reaches: pair and three-body terms that see further than the others.

Forces at high temperature are made by the first shells, and a short cutoff gives these the
resolution; what a pair of neighbours says of the second shell and beyond needs fewer terms, of low
body order. Both are sums over one set of radial functions: those of the shorter reach are
expanded in the pair functions g_k of the longer one, R_n = sum_k c_nk g_k (`radcoefficients`, see
Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022)), and are followed by the g_k themselves. So
the result is an ordinary ACE, which LAMMPS runs as any other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet, BBasisConfiguration

Array = NDArray[np.float64]

_POINTS = 2000  # of the distances at which the shorter functions are expanded
_MARGIN = 8  # pair functions more than that, so that the expansion is close
_FROM = 0.02  # of the cutoff: pyace refuses the first bin of its splines


def with_far_terms(near: BBasisConfiguration, far: BBasisConfiguration) -> BBasisConfiguration:
    """Return the many-body terms of `near` with all pair and three-body terms of `far`.

    Both are of the same elements and the same radial basis, `far` with the longer cutoff; the pair
    terms of `near` are left out. The radial index of a three-body term of `far` counts on
    from the highest of `near`: the prior expects a little less of it.
    """
    near_blocks = {tuple(block.elements_vec): block for block in near.funcspecs_blocks}
    shift = max(block.nradmaxi for block in near_blocks.values())
    far = _with_enough_pair_functions(near, far)
    expansions = _expansions(near, far)
    blocks = far.funcspecs_blocks
    for block in blocks:
        mine = near_blocks[tuple(block.elements_vec)]
        specs = []
        for spec in block.funcspecs:
            if len(spec.ns) > 1:
                spec.ns = [n + shift for n in spec.ns]
            specs.append(spec)
        specs += [spec for spec in mine.funcspecs if len(spec.ns) > 1]
        if block.nradbaseij == 0:  # three elements: their bonds are in other blocks
            block.funcspecs = specs
            continue
        count, degrees = shift + block.nradmaxi, max(mine.lmaxi, block.lmaxi) + 1
        radial = np.zeros((count, degrees, block.nradbaseij))
        given = expansions[tuple(block.elements_vec)]
        radial[: len(given)] = given[:, None, :]
        further = np.arange(block.nradmaxi)
        radial[shift + further, :, further] = 1.0
        block.nradmaxi, block.lmaxi = count, degrees - 1
        block.radcoefficients = radial.tolist()
        block.funcspecs = specs
    far.funcspecs_blocks = blocks
    return far


def _with_enough_pair_functions(
    near: BBasisConfiguration, far: BBasisConfiguration
) -> BBasisConfiguration:
    """Return `far` with as many g_k as resolve its whole reach as finely as the near R_n theirs."""
    finest = {
        tuple(b.elements_vec): b.nradmaxi / b.rcutij for b in near.funcspecs_blocks if b.rcutij
    }
    blocks = far.funcspecs_blocks
    for block in blocks:
        if block.nradbaseij == 0:
            continue
        needed = math.ceil(block.rcutij * finest[tuple(block.elements_vec)]) + _MARGIN
        if needed > block.nradbaseij:
            block.nradbaseij = needed
            block.radcoefficients = np.eye(needed)[: block.nradmaxi, None, :].repeat(
                block.lmaxi + 1, axis=1
            )
    far.funcspecs_blocks = blocks
    return far


def _expansions(
    near: BBasisConfiguration, far: BBasisConfiguration
) -> dict[tuple[str, ...], Array]:
    """Return for each bond (n x k) the coefficients of the near g_n in the far g_k."""
    bases = [ACEBBasisSet(configuration) for configuration in (near, far)]
    index = dict(bases[0].elements_to_index_map)
    counts = {tuple(b.elements_vec): (b.nradmaxi, b.nradbaseij) for b in near.funcspecs_blocks}
    found: dict[tuple[str, ...], Array] = {}
    for block in far.funcspecs_blocks:
        bond = tuple(block.elements_vec)
        if block.nradbaseij == 0:
            continue
        pair = index[bond[0]], index[bond[-1]]
        grid = np.linspace(_FROM, 1.0, _POINTS) * block.rcutij
        wanted = _pair_functions(bases[0], grid, pair)[:, : counts[bond][0]]
        known = _pair_functions(bases[1], grid, pair)[:, : block.nradbaseij]
        found[bond] = np.asarray(np.linalg.lstsq(known, wanted, rcond=None)[0].T)
    return found


def _pair_functions(basis: ACEBBasisSet, grid: Array, pair: tuple[int, int]) -> Array:
    """Return g_k (distances x k) of a pair of elements, zero from its cutoff on."""
    radial = basis.radial_functions
    cutoff = float(np.asarray(radial.cut)[pair[0]][pair[1]])
    inside = np.minimum(grid, cutoff)
    radial.evaluate_range(inside, int(radial.nradbase), int(radial.nradial), *pair)
    values = np.array(radial.gr_vec, dtype=float).reshape(len(grid), -1)
    values[grid >= cutoff] = 0.0
    return np.asarray(values)
