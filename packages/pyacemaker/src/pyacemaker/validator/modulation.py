"""Crystals displaced along their softest phonons, in the smallest cells that hold them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from phonopy import Phonopy

from pyacemaker.validator.commensurate import commensurate_cell, compact
from pyacemaker.validator.evaluation import Floats
from pyacemaker.validator.lattice_dynamics import DENOMINATOR, frequencies, lengths, to_ase
from pyacemaker.validator.result import proposed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings

_AMPLITUDES_A = (0.1, 0.25)  # of the atom that moves most
_MODES = 3


def displaced_along_soft_modes(
    exact: Sequence[tuple[Phonopy, Floats]], settings: ValidationSettings
) -> tuple[Atoms, ...]:
    """Return cells of at most `settings.max_atoms` displaced along the softest modes.

    `exact` pairs phonopy with the wave vectors (points x 3) at which its force constants
    are exact. Where none of their cells is small enough, small fractions are looked at
    with the first phonopy; Gamma's acoustic modes are left out.
    """
    found = [each for phonopy, points in exact for each in _soft_modes(phonopy, points, settings)]
    if not found:
        grids = [np.array(list(itertools.product(range(n), repeat=3))) / n for n in (2, 3, 4)]
        found = _soft_modes(exact[0][0], np.concatenate(grids), settings)
    return worth_labelling(found, settings)


def _soft_modes(phonopy: Phonopy, points: Floats, settings: ValidationSettings) -> list[Atoms]:
    points = np.unique(np.round(points % 1, 9), axis=0)
    primitive = to_ase(phonopy.primitive)
    found = frequencies(phonopy, points)
    modes: list[tuple[float, int, int]] = []
    at_gamma = lengths(points, primitive) < 1e-6
    for i, bands in enumerate(found):
        order = np.argsort(np.abs(bands))[3:] if at_gamma[i] else np.arange(len(bands))
        modes += [(float(bands[band]), i, int(band)) for band in order]
    structures: list[Atoms] = []
    taken: list[float] = []
    for frequency, i, band in sorted(modes):
        if len(taken) == _MODES or frequency > -settings.phonon_tolerance_THz:
            break
        if any(abs(frequency - other) < 1e-3 * max(1.0, abs(other)) for other in taken):
            continue  # a symmetry-equivalent wave vector, or a partner of a degenerate pair
        H = commensurate_cell(points[i], DENOMINATOR)
        if H is None or abs(round(np.linalg.det(H))) * len(primitive) > settings.max_atoms:
            continue
        taken.append(frequency)
        structures += _frozen(phonopy, points[i], band, H, frequency)
    return structures


def _frozen(
    phonopy: Phonopy, q: Floats, band: int, H: NDArray[np.int64], frequency: float
) -> list[Atoms]:
    # phonopy multiplies columns of lattice vectors: its matrix is the transpose of ours.
    modulation = phonopy.run_modulations(
        compact(H, phonopy.primitive.cell).T, [[q.tolist(), band, 1.0, 0.0]]
    )
    perfect, field = to_ase(modulation.supercell), np.asarray(modulation.modulations[0])
    patterns = [np.real(field), np.imag(field)]
    sizes = [float(np.linalg.norm(pattern, axis=1).max()) for pattern in patterns]
    made = []
    name = ",".join(str(Fraction(float(x)).limit_denominator(DENOMINATOR)) for x in q)
    for pattern, size, phase in zip(patterns, sizes, (0, 90), strict=True):
        if size < 0.3 * max(sizes):  # a standing wave has only one phase
            continue
        for amplitude in _AMPLITUDES_A:
            atoms = perfect.copy()
            atoms.positions += pattern * amplitude / size
            made.append(
                proposed(
                    atoms,
                    "phonons",
                    f"q={name}:band{band}:{phase}",
                    wave_vector=name,
                    frequency_THz=frequency,
                    amplitude_A=amplitude,
                )
            )
    return made
