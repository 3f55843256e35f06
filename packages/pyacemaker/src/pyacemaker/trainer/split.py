"""On which side of the split a structure lies, never apart from its neighbours."""

from __future__ import annotations

import hashlib


def side_of(group: str, fractions: tuple[float, float, float], seed: int) -> int:
    """Return 0 (training), 1 (validation) or 2 (test) for a group, by a hash of its name.

    The side depends on nothing but `seed` and the name, so that neighbours of one trajectory
    share a side, and structures that are added later never move an earlier one. The price is
    that `fractions` (of the three sides; not negative, with sum 1) hold only on average over many
    groups.
    """
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    place = int.from_bytes(digest[:7], "big") / 2**56
    if place < fractions[0]:
        return 0
    return 1 if place < fractions[0] + fractions[1] or fractions[2] == 0.0 else 2
