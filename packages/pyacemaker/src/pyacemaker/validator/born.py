"""Mechanical stability of every crystal system: the Born criteria.

F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014). Tensors are 6 x 6 in GPa,
Voigt order xx, yy, zz, yz, xz, xy with engineering shear strains, in the standard frame
(cubic axes along x, y, z; the axis of order 3, 4 or 6 along z; the unique axis of a
monoclinic crystal along y). At zero stress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pyacemaker.validator.evaluation import Floats

LaueClass = Literal[
    "cubic",
    "hexagonal",
    "tetragonal I",
    "tetragonal II",
    "rhombohedral I",
    "rhombohedral II",
    "orthorhombic",
    "monoclinic",
    "triclinic",
]

# The independent constants of each class in the standard frame.
INDEPENDENT: dict[LaueClass, tuple[str, ...]] = {
    "cubic": ("C11", "C12", "C44"),
    "hexagonal": ("C11", "C12", "C13", "C33", "C44"),
    "tetragonal I": ("C11", "C12", "C13", "C33", "C44", "C66"),
    "tetragonal II": ("C11", "C12", "C13", "C16", "C33", "C44", "C66"),
    "rhombohedral I": ("C11", "C12", "C13", "C14", "C33", "C44"),
    "rhombohedral II": ("C11", "C12", "C13", "C14", "C15", "C33", "C44"),
    "orthorhombic": ("C11", "C12", "C13", "C22", "C23", "C33", "C44", "C55", "C66"),
    "monoclinic": (
        *("C11", "C12", "C13", "C15", "C22", "C23", "C25", "C33", "C35"),
        *("C44", "C46", "C55", "C66"),
    ),
    "triclinic": tuple(f"C{i}{j}" for i in range(1, 7) for j in range(i, 7)),
}

_LAST_SPACE_GROUP: tuple[tuple[int, LaueClass], ...] = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (88, "tetragonal II"),
    (142, "tetragonal I"),
    (148, "rhombohedral II"),
    (167, "rhombohedral I"),
    (194, "hexagonal"),
    (230, "cubic"),
)


@dataclass(frozen=True)
class Criterion:
    """A quantity that is positive in a stable crystal; `unit` is GPa or a power of it."""

    name: str
    value: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether it is fulfilled."""
        return self.value > 0


def laue_class(space_group: int) -> LaueClass:
    """Return the class whose elastic tensors have the form of `space_group` (1 to 230)."""
    for last, name in _LAST_SPACE_GROUP:
        if 1 <= space_group <= last:
            return name
    raise ValueError(f"there is no space group {space_group}")


def kelvin(C: Floats) -> Floats:
    """Return the Kelvin (Mandel) form of a Voigt tensor, whose eigenvalues are its own."""
    factor = np.array([1, 1, 1, np.sqrt(2), np.sqrt(2), np.sqrt(2)])
    return np.asarray((C + C.T) / 2 * np.outer(factor, factor))


def lowest_eigenvalue(C: Floats) -> float:
    """Return the lowest eigenvalue (GPa): positive if and only if the crystal is stable."""
    return float(np.linalg.eigvalsh(kelvin(C))[0])


def softest_strain(C: Floats) -> Floats:
    """Return the strain (3 x 3, Frobenius norm 1) of the lowest eigenvalue."""
    vector = np.linalg.eigh(kelvin(C))[1][:, 0]
    xx, yy, zz = vector[:3]
    yz, xz, xy = vector[3:] / np.sqrt(2)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def born_criteria(C: Floats, laue: LaueClass) -> tuple[Criterion, ...]:
    """Return the necessary and sufficient criteria of `laue` with their values."""
    c = {f"{i}{j}": float(C[i - 1, j - 1]) for i in range(1, 7) for j in range(1, 7)}

    def one(name: str, value: float, power: int = 1) -> Criterion:
        return Criterion(name, value, "GPa" if power == 1 else f"GPa^{power}")

    def minor(name: str, *axes: int) -> Criterion:
        picked = C[np.ix_([a - 1 for a in axes], [a - 1 for a in axes])]
        return one(name, float(np.linalg.det(picked)), len(axes))

    if laue == "cubic":
        return (
            one("C11 - C12 > 0", c["11"] - c["12"]),
            one("C11 + 2 C12 > 0", c["11"] + 2 * c["12"]),
            one("C44 > 0", c["44"]),
        )
    if laue in ("hexagonal", "tetragonal I", "tetragonal II", "rhombohedral I", "rhombohedral II"):
        uniaxial = (
            one("C11 - |C12| > 0", c["11"] - abs(c["12"])),
            one(
                "C33 (C11 + C12) - 2 C13^2 > 0", c["33"] * (c["11"] + c["12"]) - 2 * c["13"] ** 2, 2
            ),
            one("C44 > 0", c["44"]),
        )
        half = c["44"] * (c["11"] - c["12"])
        return (
            uniaxial
            + {
                "hexagonal": (one("C66 > 0", c["66"]),),
                "tetragonal I": (one("C66 > 0", c["66"]),),
                "tetragonal II": (
                    one("C66 > 0", c["66"]),
                    one(
                        "C66 (C11 - C12) - 2 C16^2 > 0",
                        c["66"] * (c["11"] - c["12"]) - 2 * c["16"] ** 2,
                        2,
                    ),
                ),
                "rhombohedral I": (
                    one("C44 (C11 - C12) - 2 C14^2 > 0", half - 2 * c["14"] ** 2, 2),
                ),
                "rhombohedral II": (
                    one(
                        "C44 (C11 - C12) - 2 C14^2 - 2 C15^2 > 0",
                        half - 2 * c["14"] ** 2 - 2 * c["15"] ** 2,
                        2,
                    ),
                ),
            }[laue]
        )
    if laue == "orthorhombic":
        return (
            one("C11 > 0", c["11"]),
            minor("C11 C22 - C12^2 > 0", 1, 2),
            minor("det of C11 ... C33 > 0", 1, 2, 3),
            *(one(f"C{k}{k} > 0", c[f"{k}{k}"]) for k in (4, 5, 6)),
        )
    if laue == "monoclinic":
        # The two blocks (1, 2, 3, 5) and (4, 6), each by its leading minors (Sylvester).
        return (
            one("C11 > 0", c["11"]),
            minor("C11 C22 - C12^2 > 0", 1, 2),
            minor("det of C11 ... C33 > 0", 1, 2, 3),
            minor("det of the block 1, 2, 3, 5 > 0", 1, 2, 3, 5),
            one("C44 > 0", c["44"]),
            minor("C44 C66 - C46^2 > 0", 4, 6),
        )
    return tuple(
        minor(f"leading minor of order {order} > 0", *range(1, order + 1)) for order in range(1, 7)
    )
