"""What holds for every function that proposes structures before they are labelled.

Each takes plain data and returns plain ASE structures, each tagged by
:func:`pyacemaker.provenance.tag`. It runs no calculator. All randomness comes from the
numpy Generator it is given: the same state of that Generator gives the same list,
whatever ran before and whatever the process's hash seed is.

Lengths are in angstrom, volumes in angstrom^3, strains are dimensionless.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers

HEAVIEST = 96  # curium: the last covalent radius that was measured (Cordero et al., 2008)


class GeneratorError(ValueError):
    """A request no generator can serve; one line that says what, and the remedy."""


def checked_elements(elements: Sequence[str]) -> tuple[str, ...]:
    """Return `elements` without repeats, in the order given.

    Raises GeneratorError for an empty list, an unknown symbol or an element for which no
    covalent radius has been measured (beyond curium).
    """
    if isinstance(elements, str):
        raise GeneratorError(f"elements is the text '{elements}': give a list of symbols")
    found = tuple(dict.fromkeys(elements))
    if not found:
        raise GeneratorError("no elements given: name at least one, for example [Si]")
    for symbol in found:
        number = atomic_numbers.get(symbol, 0)
        if number == 0:
            raise GeneratorError(f"'{symbol}' is not an element: use a symbol such as 'Si'")
        if number > HEAVIEST:
            raise GeneratorError(f"no covalent radius is known for {symbol}: it is not supported")
    return found


def child(rng: np.random.Generator) -> np.random.Generator:
    """Return an independent Generator seeded by the next 128 bits of `rng`.

    Unlike ``rng.spawn`` it depends on nothing but the state of the stream, which survives
    being written to disk. Parts of a recipe get one each, drawn up front, so that asking
    one part for more structures leaves the others as they were.
    """
    return np.random.default_rng(rng.integers(0, 2**32, size=4, dtype=np.uint32))
