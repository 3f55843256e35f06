"""A crystal's vibrations as numbers: entropy, heat capacity, displacements, melting by Lindemann.

Frequencies in THz, energies in eV a primitive cell, temperatures in K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from pyacemaker.validator.defect_cells import neighbour_distance
from pyacemaker.validator.evaluation import Floats, PotentialError, one_line
from pyacemaker.validator.lattice_dynamics import (
    commensurate_points,
    force_constants,
    quiet_mesh,
)
from pyacemaker.validator.lattice_dynamics import frequencies as at_wave_vectors
from pyacemaker.validator.settings import ValidationSettings

# The root mean square displacement at melting over the neighbour distance: 0.07 (bcc) to 0.13
# (fcc), J. J. Gilvarry, Phys. Rev. 102, 308 (1956).
LINDEMANN = 0.1
_PLANCK_eV_per_THz = 4.135667696e-3
_STILL_THz = 0.02  # translations, to the accuracy of the force constants
_MESH_A = 30.0


@dataclass(frozen=True)
class Vibrations:
    """Frequencies of the normal modes of a crystal on a mesh, translations left out.

    `frequencies_THz` (flat) has weights `weights` that sum to the modes of the primitive
    cell, `mass_amu` is that of the primitive cell, `imaginary` the share of imaginary modes.
    """

    frequencies_THz: Floats
    weights: Floats
    mass_amu: float
    neighbour_A: float
    primitive_atoms: int
    imaginary: float

    def entropy(self, temperature_K: float) -> float:
        """Return the vibrational entropy in eV/K a primitive cell."""
        x = _PLANCK_eV_per_THz * self.frequencies_THz / (units.kB * temperature_K)
        each = x / np.expm1(x) - np.log1p(-np.exp(-x))
        return float(units.kB * (self.weights * each).sum())

    def heat_capacity(self, temperature_K: float) -> float:
        """Return the heat capacity at constant volume in eV/K a primitive cell."""
        x = _PLANCK_eV_per_THz * self.frequencies_THz / (units.kB * temperature_K)
        return float(units.kB * (self.weights * (x / 2 / np.sinh(x / 2)) ** 2).sum())

    def displacement_ratio(self, temperature_K: float) -> float:
        """Return the classical RMS displacement over the neighbour distance.

        Averaged with the atoms' masses: sum of kT / omega^2 over the modes = sum of M <u^2>.
        """
        omega = 2 * np.pi * self.frequencies_THz / (1000 * units.fs)  # ASE's time unit
        square = units.kB * temperature_K * (self.weights / omega**2).sum() / self.mass_amu
        return float(np.sqrt(square)) / self.neighbour_A

    @property
    def lindemann_melting(self) -> float:
        """The temperature (K) at which displacements reach Lindemann's criterion."""
        return float((LINDEMANN / self.displacement_ratio(1.0)) ** 2)


def vibrations(
    crystal: Atoms,
    calculator: Calculator,
    settings: ValidationSettings,
    edge_A: float,
    *,
    exact: bool = False,
) -> Vibrations:
    """Compute the phonons of a relaxed `crystal` in a cell of `edge_A`. Raises PotentialError.

    On a mesh; with `exact` at the wave vectors that fit the cell alone: fewer, but nothing is
    interpolated, which can fake an imaginary mode (see `lattice_dynamics.exact_phonons`).
    """
    bounds = {"phonon_min_edge_A": edge_A, "phonon_max_atoms": 300}
    try:
        found = force_constants(crystal, calculator, settings.model_copy(update=bounds))
        if exact:
            frequencies = at_wave_vectors(found.phonopy, commensurate_points(found.phonopy))
            weights = np.ones(len(frequencies))
        else:
            mesh = quiet_mesh(found.phonopy, _MESH_A)
            frequencies = np.asarray(mesh.frequencies, dtype=float)
            weights = np.asarray(mesh.weights, dtype=float)
    except (RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        if isinstance(error, PotentialError):
            raise
        raise PotentialError(f"phonopy gives up on this potential: {one_line(error)}") from error
    if not np.isfinite(frequencies).all():
        raise PotentialError("phonon frequencies are not finite")
    share = np.repeat((weights / weights.sum())[:, None], frequencies.shape[1], axis=1)
    moving = frequencies > _STILL_THz
    if not moving.any():
        raise PotentialError("no mode of the crystal vibrates: no forces pull atoms back")
    primitive = found.primitive
    return Vibrations(
        frequencies[moving],
        share[moving],
        float(primitive.get_masses().sum()),
        neighbour_distance(crystal),
        len(primitive),
        float(share[frequencies < -settings.phonon_gamma_tolerance_THz].sum())
        / frequencies.shape[1],
    )
