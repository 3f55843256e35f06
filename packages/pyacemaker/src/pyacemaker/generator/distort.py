"""Rattled and strained cells, and both at once.

Split groups. A model that has seen a crystal at one point of a smooth path (a volume scan,
a set of pure strains, displacements of a few hundredths of an angstrom) knows the rest of
the path, so all of it is one group. Two independent Gaussian displacements of sigma >=
0.05 angstrom are another matter: corresponding atoms then differ by sigma * 6^(1/2), 0.12
angstrom, which in a solid with force constants of 5-10 eV/angstrom^2 changes forces by
0.5-1 eV/angstrom, tens of times the error of a fit. They share a distribution, as test and
training data should, but not an answer; each is its own group. Below 0.05 angstrom the
draws of one parent stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from ase import Atoms

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import allowed_contact, bare, closest_contact
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import tag

__all__ = ["distorted", "random_strain", "rattled", "strained", "supercell"]

StrainKind = Literal["volumetric", "uniaxial", "shear", "full"]
STRAIN_KINDS: tuple[StrainKind, ...] = ("volumetric", "uniaxial", "shear", "full")
INDEPENDENT_SIGMA_A = 0.05
ATTEMPTS = 12
BACK_OFF = 0.85

Tensor = npt.NDArray[np.float64]


def random_strain(kind: StrainKind, amplitude: float, rng: np.random.Generator) -> Tensor:
    """Return a symmetric 3 x 3 strain tensor (dimensionless).

    `volumetric`: equal in all directions, uniform in +-`amplitude`; `uniaxial`: along one
    Cartesian axis; `shear`: traceless off-diagonal, each tensor component (half the
    engineering shear) uniform in +-`amplitude`; `full`: all six components.
    """
    if not 0 <= amplitude < 0.5:
        raise GeneratorError(f"strain amplitude {amplitude} is outside 0 to 0.5")
    drawn = rng.uniform(-amplitude, amplitude, size=6)
    strain = np.zeros((3, 3))
    if kind == "volumetric":
        strain += drawn[0] * np.eye(3)
    elif kind == "uniaxial":
        axis = int(rng.integers(3))
        strain[axis, axis] = drawn[0]
    elif kind in ("shear", "full"):
        for (i, j), value in zip(((1, 2), (0, 2), (0, 1)), drawn[3:], strict=True):
            strain[i, j] = strain[j, i] = value
        if kind == "full":
            strain += np.diag(drawn[:3])
    else:
        raise GeneratorError(f"'{kind}' is no kind of strain: use {', '.join(STRAIN_KINDS)}")
    return strain


def deformed(atoms: Atoms, strain: npt.ArrayLike) -> Atoms:
    """Return a copy with cell (1 + strain) applied to every lattice vector, atoms following.

    `strain` is a symmetric 3 x 3 tensor (dimensionless). Raises GeneratorError if it is
    not, or if it would collapse the cell.
    """
    tensor = np.asarray(strain, dtype=float)
    if tensor.shape != (3, 3) or not np.allclose(tensor, tensor.T, atol=1e-12):
        raise GeneratorError("strain must be a symmetric 3 x 3 tensor")
    if np.linalg.eigvalsh(tensor).min() <= -0.9:
        raise GeneratorError("strain would collapse the cell")
    copy = bare(atoms)
    copy.set_cell(atoms.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
    return copy


def strained(
    atoms: Atoms,
    strain: npt.ArrayLike,
    group: str,
    generator: str = "strained",
    **details: Any,
) -> Atoms:
    """Return `atoms` under a homogeneous strain, tagged with it (3 x 3, dimensionless)."""
    copy = deformed(atoms, strain)
    tensor = np.asarray(strain, dtype=float)
    return tag(copy, generator, group, strain=tensor.tolist(), **details)


def displaced(
    atoms: Atoms,
    sigma_A: float,
    rng: np.random.Generator,
    *,
    floor: float,
    weights: npt.NDArray[np.float64] | None = None,
) -> tuple[Atoms, float]:
    """Return a copy with Gaussian displacements and the sigma (angstrom) really used.

    Each Cartesian component of atom i has standard deviation ``sigma_A * weights[i]``. The
    mean displacement is removed (a shift of the whole crystal is no new structure). Where
    any pair comes closer than `floor` times its contact distance the draw is repeated, and
    after every third failure with sigma reduced by 15 %.
    """
    if not (np.isfinite(sigma_A) and sigma_A >= 0):
        raise GeneratorError(f"sigma of {sigma_A} angstrom is not a length")
    sigma = float(sigma_A)
    scale = np.ones(len(atoms)) if weights is None else np.asarray(weights, dtype=float)
    copy = bare(atoms)
    if len(atoms) == 1:
        return copy, 0.0
    for attempt in range(ATTEMPTS * 3):
        shift = rng.normal(size=(len(atoms), 3)) * sigma * scale[:, None]
        copy.set_positions(atoms.positions + shift - shift.mean(axis=0), apply_constraint=False)
        if closest_contact(copy) >= floor:
            return copy, sigma
        if attempt % 3 == 2:
            sigma *= BACK_OFF
    return bare(atoms), 0.0


def rattled(
    atoms: Atoms,
    sigma_A: float,
    rng: np.random.Generator,
    group: str,
    generator: str = "rattled",
    **details: Any,
) -> Atoms:
    """Return `atoms` with Gaussian displacements of `sigma_A` angstrom in each component.

    Pairs never come closer than `contact.ORDINARY_CONTACT` (or a tenth less than they were
    where they were closer already); the provenance has the sigma really used.
    """
    copy, used = displaced(atoms, sigma_A, rng, floor=allowed_contact(atoms))
    return tag(copy, generator, group, sigma_A=used, **details)


def distorted(
    parent: Atoms,
    rng: np.random.Generator,
    *,
    count: int,
    sigmas_A: Sequence[float],
    strain_amplitudes: Sequence[float],
    prefix: str,
    kinds: Sequence[StrainKind] = STRAIN_KINDS,
    small_group: str | None = None,
) -> list[Atoms]:
    """Return `count` cells, each strained and rattled by a draw of its own.

    Amplitudes and kinds of strain are taken in turn, so that every combination is met.
    `prefix` begins the split groups (see the module's text for where they divide);
    `small_group` (by default ``<prefix>-small``) takes those that are hardly displaced.
    """
    made: list[Atoms] = []
    for number in range(count):
        sigma = float(sigmas_A[number % len(sigmas_A)])
        amplitude = float(strain_amplitudes[(number // len(sigmas_A)) % len(strain_amplitudes)])
        kind = kinds[number % len(kinds)]
        strain = random_strain(kind, amplitude, rng)
        cell = deformed(parent, strain)
        floor = allowed_contact(parent)
        while closest_contact(cell) < floor:
            strain = strain * BACK_OFF
            cell = deformed(parent, strain)
        copy, used = displaced(cell, sigma, rng, floor=floor)
        free = len(parent) > 1 and used >= INDEPENDENT_SIGMA_A
        made.append(
            tag(
                copy,
                "distorted",
                f"{prefix}-{number:03d}" if free else (small_group or f"{prefix}-small"),
                sigma_A=used,
                strain=strain.tolist(),
                strain_kind=kind,
            )
        )
    return made
