"""Harmonic phonons of a potential by finite displacements, through phonopy.

Frequencies in THz (imaginary ones negative), wave vectors in units of the primitive cell's
reciprocal vectors, their lengths in 1/angstrom without the factor 2 pi.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.structure.atoms import PhonopyAtoms

from pyacemaker.validator.commensurate import commensurate_cell, compact
from pyacemaker.validator.evaluation import Floats, PotentialError, evaluate
from pyacemaker.validator.settings import ValidationSettings

DENOMINATOR = 16  # of the wave vectors that are looked at exactly
_PHONOPY_SYMPREC = 1e-3  # the relaxed crystal is symmetric to the optimiser's tolerance


@dataclass(frozen=True)
class ForceConstants:
    """Phonopy with its force constants, and what was seen on the way.

    `drift_relative` is the largest breach of the translational sum rule before it was
    imposed, over the largest force constant; `energy_error_eV_per_atom` the difference of
    the supercell's energy an atom from the unit cell's.
    """

    phonopy: Phonopy
    unit_cell: Atoms
    supercell_atoms: int
    supercell_height_A: float
    displacements: int
    drift_relative: float
    energy_error_eV_per_atom: float

    @property
    def primitive(self) -> Atoms:
        """The primitive cell the wave vectors refer to."""
        return to_ase(self.phonopy.primitive)


@dataclass(frozen=True)
class BandPath:
    """A path through the Brillouin zone: arrays (points x 3) of wave vectors, one a stretch."""

    stretches: tuple[Floats, ...]
    distances: tuple[Floats, ...]
    labels: tuple[str, ...]
    positions: tuple[float, ...]


def force_constants(
    crystal: Atoms, calculator: Calculator, settings: ValidationSettings
) -> ForceConstants:
    """Displace atoms of a supercell of the relaxed `crystal`. Raises PotentialError."""
    unit = conventional(crystal, settings.symprec_A)
    repeats, height = supercell_repeats(unit, settings)
    phonopy = _phonopy(unit, np.diag(repeats), "auto")
    phonopy.generate_displacements(distance=settings.phonon_displacement_A)
    displaced = phonopy.supercells_with_displacements or []
    if len(displaced) > settings.phonon_max_displacements:
        raise PotentialError(
            f"{len(displaced)} displaced supercells are needed, "
            f"{settings.phonon_max_displacements} allowed: validate on a smaller or more symmetric "
            "cell, or raise phonon_max_displacements"
        )
    perfect = evaluate(to_ase(phonopy.supercell), calculator, stress=False)
    alone = evaluate(unit, calculator, stress=False)
    atoms = len(phonopy.supercell)
    phonopy.forces = _responses(displaced, perfect.forces_eV_per_A, calculator)
    phonopy.produce_force_constants()
    raw = np.asarray(phonopy.force_constants)
    largest = max(float(np.abs(raw).max()), 1e-12)
    drift = float(np.abs(raw.sum(axis=1)).max()) / largest
    phonopy.symmetrize_force_constants(show_drift=False)
    return ForceConstants(
        phonopy,
        unit,
        atoms,
        height,
        len(displaced),
        drift,
        abs(perfect.energy_eV / atoms - alone.energy_eV / len(unit)),
    )


def exact_phonons(primitive: Atoms, q: Floats, calculator: Calculator) -> Phonopy:
    """Return phonopy with force constants that are exact at the wave vector `q`.

    The supercell repeats along `q` only. A many-body potential's force constants reach
    twice its cutoff, further than half an ordinary supercell; between the wave vectors
    that fit it, their folding can fake an imaginary mode or hide one. At those that fit,
    they sum to the exact dynamical matrix. Raises PotentialError; ValueError for a `q`
    that needs a denominator above DENOMINATOR.
    """
    H = commensurate_cell(q, DENOMINATOR)
    if H is None:
        raise ValueError(f"{q} is no fraction with a denominator of at most {DENOMINATOR}")
    phonopy = _phonopy(primitive, compact(H, primitive.cell.array).T, np.eye(3))
    phonopy.generate_displacements(distance=0.01)
    perfect = evaluate(to_ase(phonopy.supercell), calculator, stress=False)
    displaced = phonopy.supercells_with_displacements or []
    phonopy.forces = _responses(displaced, perfect.forces_eV_per_A, calculator)
    phonopy.produce_force_constants()
    phonopy.symmetrize_force_constants(show_drift=False)
    return phonopy


def _phonopy(unit: Atoms, supercell: NDArray[np.int64], primitive: Floats | str) -> Phonopy:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that "auto" finds a primitive cell is what we want
        return Phonopy(
            PhonopyAtoms(
                symbols=unit.get_chemical_symbols(),
                cell=unit.cell.array,
                scaled_positions=unit.get_scaled_positions(),
                masses=unit.get_masses(),
            ),
            supercell_matrix=supercell,
            primitive_matrix=primitive,
            symprec=_PHONOPY_SYMPREC,
        )


def _responses(
    displaced: Sequence[PhonopyAtoms], at_rest: Floats, calculator: Calculator
) -> list[Floats]:
    """Return the forces less those left over by the relaxation, which are no response."""
    return [
        evaluate(to_ase(cell), calculator, stress=False).forces_eV_per_A - at_rest
        for cell in displaced
    ]


def frequencies(phonopy: Phonopy, wave_vectors: Floats) -> Floats:
    """Return frequencies (points x bands) in THz at `wave_vectors` (points x 3)."""
    return np.asarray(phonopy.run_qpoints(wave_vectors).frequencies, dtype=float)


def commensurate_points(phonopy: Phonopy) -> Floats:
    """Return the wave vectors that fit the supercell: where nothing is interpolated."""
    to_super = np.linalg.inv(phonopy.primitive_matrix) @ phonopy.supercell_matrix
    return np.asarray(get_commensurate_points(np.rint(to_super).astype("int64")))


def lengths(wave_vectors: Floats, primitive: Atoms) -> Floats:
    """Return the distance in 1/angstrom of each wave vector from the nearest Gamma point."""
    reciprocal = primitive.cell.reciprocal().array
    inner = wave_vectors - np.rint(wave_vectors)
    images = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)))
    each = (inner[:, None, :] + images[None, :, :]) @ reciprocal
    return np.asarray(np.linalg.norm(each, axis=2).min(axis=1))


def quiet_mesh(phonopy: Phonopy, length_A: float) -> Any:
    """Run phonopy's mesh of that length; it holds irreducible points, weights, frequencies."""
    with warnings.catch_warnings():
        # that it takes another grid of the same density in a centred lattice is what we want
        warnings.simplefilter("ignore")
        return phonopy.run_mesh(length_A)


def mesh_points(phonopy: Phonopy, length_A: float) -> tuple[Floats, Floats]:
    """Return the irreducible points of a Gamma-centred mesh and their frequencies (THz)."""
    mesh = quiet_mesh(phonopy, length_A)
    return np.asarray(mesh.qpoints), np.asarray(mesh.frequencies)


def band_path(primitive: Atoms, points: int = 41) -> BandPath:
    """Return the path of ASE's Bravais-lattice tables (Setyawan and Curtarolo's for most).

    W. Setyawan and S. Curtarolo, Comput. Mater. Sci. 49, 299 (2010).
    """
    try:
        found = primitive.cell.bandpath(npoints=0, eps=1e-3, pbc=True)
        corners = {name: np.asarray(value) for name, value in found.special_points.items()}
        runs = _corner_runs(str(found.path), list(corners))
    except Exception:  # a lattice that ASE does not recognise: along the reciprocal axes
        corners = {"G": np.zeros(3), **{n: v / 2 for n, v in zip("XYZ", np.eye(3), strict=True)}}
        runs = [["X", "G", "Y"], ["G", "Z"]]
    reciprocal = primitive.cell.reciprocal().array
    stretches, distances = [], []
    labels: list[str] = []
    positions: list[float] = []
    at = 0.0
    for run in runs:
        if labels:  # a break in the path: two names share one place
            labels[-1] += f"|{run[0]}"
        else:
            labels, positions = [run[0]], [at]
        for start, end in itertools.pairwise(run):
            t = np.linspace(0, 1, points)[:, None]
            stretches.append(corners[start] * (1 - t) + corners[end] * t)
            length = float(np.linalg.norm((corners[end] - corners[start]) @ reciprocal))
            distances.append(at + length * t[:, 0])
            at += length
            labels.append(end)
            positions.append(at)
    return BandPath(tuple(stretches), tuple(distances), tuple(labels), tuple(positions))


def conventional(crystal: Atoms, symprec: float) -> Atoms:
    """Return the conventional cell of `crystal`, whose repeats make compact supercells."""
    found = spglib.standardize_cell(
        (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers),
        to_primitive=False,
        no_idealize=True,
        symprec=symprec,
    )
    if found is None:
        return crystal.copy()
    cell, scaled, numbers = found
    atoms = Atoms(numbers=numbers, cell=cell, scaled_positions=scaled, pbc=True)
    of_kind = dict(zip(crystal.numbers.tolist(), crystal.get_masses(), strict=True))
    atoms.set_masses([of_kind[int(number)] for number in numbers])
    return atoms


def supercell_repeats(unit: Atoms, settings: ValidationSettings) -> tuple[list[int], float]:
    """Return the repeats along each axis and the smallest height (angstrom) they give."""
    heights = 1 / np.linalg.norm(unit.cell.reciprocal().array, axis=1)
    repeats = np.maximum(np.ceil(settings.phonon_min_edge_A / heights - 1e-6), 1).astype(int)
    while repeats.prod() * len(unit) > settings.phonon_max_atoms and repeats.max() > 1:
        reach = np.where(repeats > 1, heights * repeats, -1)
        repeats[int(np.argmax(reach))] -= 1
    return [int(n) for n in repeats], float((heights * repeats).min())


def to_ase(cell: PhonopyAtoms) -> Atoms:
    """Return phonopy's cell as ASE Atoms."""
    return Atoms(
        numbers=cell.numbers,
        cell=cell.cell,
        scaled_positions=cell.scaled_positions,
        masses=cell.masses,
        pbc=True,
    )


def _corner_runs(path: str, names: list[str]) -> list[list[str]]:
    """Split ``GXWKGLUWLK,UX`` into runs of names (which may end in digits, as ``B1``)."""
    ordered = sorted(names, key=len, reverse=True)
    runs = []
    for part in path.split(","):
        run, rest = [], part
        while rest:
            name = next(n for n in ordered if rest.startswith(n))
            run.append(name)
            rest = rest[len(name) :]
        runs.append(run)
    return [run for run in runs if len(run) > 1]
