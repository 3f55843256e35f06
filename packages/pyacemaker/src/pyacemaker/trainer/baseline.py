"""The ZBL baseline: universal screened nuclear repulsion, exactly as LAMMPS's `pair_style zbl`.

J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter 1
(Pergamon, 1985); switched to zero between an inner and an outer radius as in
https://docs.lammps.org/pair_zbl.html. The energy is

    E(r) = Z_i Z_j e^2 / (4 pi eps0 r) phi(r / a) + S(r),  a = 0.46850 / (Z_i^0.23 + Z_j^0.23)

with S(r) = C below the inner radius and C + A/3 (r - inner)^3 + B/4 (r - inner)^4 up to the
outer one, so that E, E' and E'' vanish there. (LAMMPS's constants are kept to the last digit:
the hybrid must be the same in ASE and in LAMMPS.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

Array = NDArray[np.float64]

_PHI_WEIGHTS = np.array([0.02817, 0.28022, 0.50986, 0.18175])
_PHI_DECAYS = np.array([0.20162, 0.40290, 0.94229, 3.19980])
_SCREENING_LENGTH_A = 0.46850
_EXPONENT = 0.23
_E2_EV_A = 14.399645  # e^2 / (4 pi eps0) in LAMMPS's metal units
# Of the sum of covalent radii: a bond at equilibrium (0.9 and more) feels nothing, and what
# is closer than the inner radius has left chemistry for nuclear repulsion.
_OUTER_FRACTION = 0.75
_INNER_FRACTION = 0.45


@dataclass(frozen=True)
class PairEnergies:
    """Energy (eV, total), its halves by atom (N), forces (N x 3, eV/angstrom) and virial.

    `virial` is dE/d(strain) (3 x 3, eV): divided by the volume it is ASE's stress.
    """

    energy: float
    energies: Array
    forces: Array
    virial: Array


@dataclass(frozen=True)
class ZblPair:
    """Switching radii (angstrom) of one pair of elements, in alphabetical order."""

    elements: tuple[str, str]
    inner_A: float
    outer_A: float

    def __post_init__(self) -> None:
        """Refuse radii that LAMMPS would divide by zero with."""
        if not 0.0 < self.inner_A < self.outer_A:
            raise ValueError(
                f"ZBL for {'-'.join(self.elements)}: need 0 < inner < outer, "
                f"not {self.inner_A} and {self.outer_A} angstrom"
            )


@dataclass(frozen=True)
class ZblBaseline:
    """ZBL with switching radii for each pair of elements; no pairs at all is no baseline."""

    pairs: tuple[ZblPair, ...]

    @classmethod
    def for_elements(cls, elements: Sequence[str]) -> ZblBaseline:
        """Radii from the sums of covalent radii (Cordero et al. 2008, as in ASE)."""
        pairs = []
        for first, second in combinations_with_replacement(sorted(set(elements)), 2):
            bond = covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]]
            pairs.append(
                ZblPair(
                    (first, second),
                    round(float(_INNER_FRACTION * bond), 3),
                    round(float(_OUTER_FRACTION * bond), 3),
                )
            )
        return cls(tuple(pairs))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ZblBaseline:
        """Read what `to_json` wrote. Raises ValueError for an unknown kind."""
        if data.get("kind") == "none":
            return cls(())
        if data.get("kind") != "zbl":
            raise ValueError(f"unknown baseline kind {data.get('kind')!r}; known: zbl, none")
        return cls(
            tuple(
                ZblPair(
                    (str(p["elements"][0]), str(p["elements"][1])),
                    float(p["inner_A"]),
                    float(p["outer_A"]),
                )
                for p in data["pairs"]
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: the kind and, for each pair, its radii in angstrom."""
        if not self.pairs:
            return {"kind": "none"}
        return {
            "kind": "zbl",
            "pairs": [
                {"elements": list(p.elements), "inner_A": p.inner_A, "outer_A": p.outer_A}
                for p in self.pairs
            ],
        }

    @property
    def reach(self) -> float:
        """Distance (angstrom) from which no pair feels anything; 0 without pairs."""
        return max((pair.outer_A for pair in self.pairs), default=0.0)

    def compute(self, atoms: Atoms, nearest_A: float = 0.0) -> PairEnergies:
        """Return the baseline of `atoms`, whatever its periodicity (units: see PairEnergies).

        `nearest_A` is the smallest distance of any pair (angstrom) where the caller knows it:
        atoms out of each other's reach are not looked at.
        """
        from ase.neighborlist import primitive_neighbor_list

        count = len(atoms)
        forces = np.zeros((count, 3))
        energies = np.zeros(count)
        virial = np.zeros((3, 3))
        if count == 0 or nearest_A >= self.reach:
            return PairEnergies(0.0, energies, forces, virial)
        i, j, distance, vector = primitive_neighbor_list(
            "ijdD",
            atoms.pbc,
            np.asarray(atoms.cell),
            atoms.positions,
            self.reach,
        )
        symbols = np.array(atoms.get_chemical_symbols())
        for pair in self.pairs:
            a, b = pair.elements
            mine = ((symbols[i] == a) & (symbols[j] == b)) | ((symbols[i] == b) & (symbols[j] == a))
            mine &= distance < pair.outer_A
            if not mine.any():
                continue
            r = distance[mine]
            energy, slope, _ = zbl_pair(
                r, atomic_numbers[a], atomic_numbers[b], pair.inner_A, pair.outer_A
            )
            # Every pair is met twice, as i-j and as j-i, hence the halves.
            np.add.at(energies, i[mine], 0.5 * energy)
            pull = (slope / r)[:, None] * vector[mine]  # vector points from i to j
            np.add.at(forces, i[mine], pull)
            virial += 0.5 * np.einsum("pa,pb->ab", pull, vector[mine])
        return PairEnergies(float(energies.sum()), energies, forces, virial)


def zbl_screened(r: Array, Z_i: int, Z_j: int) -> tuple[Array, Array, Array]:
    """Return the bare ZBL energy (eV) at distances `r` (angstrom) and its two derivatives."""
    decay = _PHI_DECAYS * (Z_i**_EXPONENT + Z_j**_EXPONENT) / _SCREENING_LENGTH_A
    terms = _PHI_WEIGHTS * np.exp(-np.multiply.outer(r, decay))
    phi = terms.sum(axis=-1)
    phi1 = -(terms * decay).sum(axis=-1)
    phi2 = (terms * decay**2).sum(axis=-1)
    charge = Z_i * Z_j * _E2_EV_A
    return (
        charge * phi / r,
        charge * (phi1 - phi / r) / r,
        charge * (phi2 - 2.0 * phi1 / r + 2.0 * phi / r**2) / r,
    )


def zbl_pair(
    r: Array, Z_i: int, Z_j: int, inner_A: float, outer_A: float
) -> tuple[Array, Array, Array]:
    """Return the switched ZBL energy (eV) at distances `r` <= `outer_A`, and its derivatives.

    The second and third arrays are dE/dr (eV/angstrom) and d2E/dr2 (eV/angstrom^2).
    """
    energy, slope, curvature = zbl_screened(r, Z_i, Z_j)
    f, f1, f2 = (float(v[0]) for v in zbl_screened(np.array([outer_A]), Z_i, Z_j))
    span = outer_A - inner_A
    A = (-3.0 * f1 + span * f2) / span**2
    B = (2.0 * f1 - span * f2) / span**3
    C = -f + span * f1 / 2.0 - span**2 * f2 / 12.0
    t = np.maximum(r - inner_A, 0.0)
    return (
        energy + C + t**3 * (A / 3.0 + B / 4.0 * t),
        slope + t**2 * (A + B * t),
        curvature + t * (2.0 * A + 3.0 * B * t),
    )


def baseline_of(kind: Literal["zbl", "none"], elements: Sequence[str]) -> ZblBaseline:
    """Return the baseline that settings name; `none` is a ZBL of no pairs."""
    return ZblBaseline.for_elements(elements) if kind == "zbl" else ZblBaseline(())
