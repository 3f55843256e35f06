"""Alloys: lattices whose sites are given to several elements, ordered or at random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from pyacemaker.generator.contact import bare, scaled_to_volume
from pyacemaker.generator.crystals import Prototype, build
from pyacemaker.generator.supercells import supercell
from pyacemaker.generator.volumes import mixed_volume


def ordered_alloy(kind: Prototype, counts: Mapping[str, int]) -> Atoms:
    """Return the lattice of `kind` with exactly `counts` atoms, dealt out in turn.

    Deterministic, as compact as the number of atoms allows; elements alternate, so that
    unlike atoms are neighbours. The volume is the mixture's.
    """
    total = sum(counts.values())
    lattice = _lattice(kind, counts, total)
    left = dict(counts)
    order: list[str] = []
    while len(order) < len(lattice):
        # the element furthest behind its share comes next
        due = max(left, key=lambda s: left[s] / counts[s])
        order.append(due)
        left[due] -= 1
        if left[due] == 0:
            del left[due]
        if not left:
            left = dict(counts)
    lattice.set_chemical_symbols(order)
    return scaled_to_volume(lattice, mixed_volume(counts) * len(lattice))


def random_alloy(kind: Prototype, counts: Mapping[str, int], rng: np.random.Generator) -> Atoms:
    """Return the lattice of `kind` with `counts` atoms of each element on sites at random."""
    order = [symbol for symbol, count in counts.items() for _ in range(count)]
    lattice = _lattice(kind, counts, len(order))
    lattice.set_chemical_symbols([order[i] for i in rng.permutation(len(order))])
    return scaled_to_volume(lattice, mixed_volume(counts) * len(lattice))


def _lattice(kind: Prototype, counts: Mapping[str, int], total: int) -> Atoms:
    """Supercell with exactly `total` sites (or the next multiple of the primitive cell)."""
    first = next(iter(counts))
    primitive = build(kind, [first] * kind.slots, 15.0)
    cells = -(-total // len(primitive))
    return bare(supercell(primitive, cells * len(primitive), exactly=True))


def random_counts(
    elements: tuple[str, ...], total: int, rng: np.random.Generator
) -> dict[str, int]:
    """Return a composition of `total` atoms with at least one of each element.

    Uniform over compositions. `total` must be at least the number of elements.
    """
    cuts = np.sort(rng.choice(np.arange(1, total), size=len(elements) - 1, replace=False))
    parts = np.diff(np.concatenate([[0], cuts, [total]]))
    return {symbol: int(n) for symbol, n in zip(elements, parts, strict=True)}
