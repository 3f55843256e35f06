"""The sizes a descriptor can have: the ladder that growth climbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rootstock.environments.esper_env import Function, functions_up_to


@dataclass(frozen=True)
class Size:
    """`channels`: the rung of radial functions and pairs; `triples`: that of three neighbours."""

    channels: int
    triples: int = 0


# Radial functions of one neighbour; highest radial function and degree of two coupled ones.
_CHANNELS = ((6, (2, 2)), (8, (3, 3)), (10, (4, 4)), (12, (5, 5)), (14, (6, 6)))
# The same where three are coupled; rung 0 is none: terms of up to three atoms.
_TRIPLES = ((0, 0), (1, 3), (2, 3), (3, 3))
LAST_CHANNELS, LAST_TRIPLES = len(_CHANNELS) - 1, len(_TRIPLES) - 1


def functions_of(size: Size, elements: int) -> list[Function]:
    """Return the functions of a size for so many elements, simplest first."""
    radial, pairs = _CHANNELS[size.channels]
    return functions_up_to(elements, radial, pairs, _TRIPLES[size.triples])


def extended(functions: Sequence[Function], size: Size, elements: int) -> list[Function]:
    """Return `functions` and, after them, what `size` has beyond them."""
    known = set(functions)
    return [*functions, *(f for f in functions_of(size, elements) if f not in known)]
