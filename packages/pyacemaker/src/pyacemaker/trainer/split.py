"""Training, validation and test sets that never mix, also not through neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from ase import Atoms

from pyacemaker.provenance import group_of, provenance_of


def split_by_group(
    structures: Sequence[Atoms],
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    pinned: Collection[str] = (),
) -> tuple[list[Atoms], list[Atoms], list[Atoms]]:
    """Split into training, validation and test sets by provenance group.

    A structure's side depends on nothing but `seed` and the name of its group, so that
    neighbours of one trajectory share a side and adding structures in a later cycle never
    moves an earlier one: what was test stays test. The price is that fractions hold only on
    average over many groups, and a small set may have an empty validation or test side;
    nothing is moved to fill it. Pin nothing that must be tested.

    Parameters
    ----------
    structures
        Each tagged with its provenance; order is kept within each side.
    fractions
        Of training, validation and test; not negative, with sum 1.
    seed
        Another seed deals the groups anew.
    pinned
        Generators (``provenance["generator"]``) whose structures always train: isolated
        atoms, dimers, the volume scans the fit cannot do without. Their groups should hold
        nothing else: a pinned structure trains even where the rest of its group tests.

    Raises
    ------
    ValueError
        If the fractions are not fractions, or a structure was never tagged.
    """
    if len(fractions) != 3 or min(fractions) < 0.0 or abs(sum(fractions) - 1.0) > 1e-9:
        raise ValueError(f"fractions must be three, not negative, with sum 1, not {fractions}")
    sides: tuple[list[Atoms], list[Atoms], list[Atoms]] = ([], [], [])
    for index, atoms in enumerate(structures):
        try:
            generator, group = str(provenance_of(atoms)["generator"]), group_of(atoms)
        except (KeyError, TypeError) as error:
            raise ValueError(f"structure {index} has no provenance to split by: {error}") from None
        sides[0 if generator in pinned else side_of(group, fractions, seed)].append(atoms)
    return sides


def side_of(group: str, fractions: tuple[float, float, float], seed: int) -> int:
    """Return 0 (training), 1 (validation) or 2 (test) for a group, by a hash of its name."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    place = int.from_bytes(digest[:7], "big") / 2**56
    if place < fractions[0]:
        return 0
    return 1 if place < fractions[0] + fractions[1] or fractions[2] == 0.0 else 2
