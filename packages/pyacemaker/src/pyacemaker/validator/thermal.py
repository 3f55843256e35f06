"""Gate: the crystal expands as it warms, by a sane amount (quasi-harmonic approximation).

From Maxwell's relation (dP/dT)_V = (dS/dV)_T: the volume's coefficient is
alpha_V = (dS/dV)_T / B_T. The entropy is that of the phonons at three volumes, the bulk
modulus the static one; see D. C. Wallace, Thermodynamics of Crystals (1972), chapter 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.eos import scaled, shape_freedom
from pyacemaker.validator.evaluation import PotentialError, crystal_of, evaluate
from pyacemaker.validator.harmonic import Vibrations, vibrations
from pyacemaker.validator.relax import relax
from pyacemaker.validator.result import against_reference, failed
from pyacemaker.validator.settings import ValidationSettings

_CHANGE = 0.015  # of the volume, either way
_POINTS = 13


@dataclass(frozen=True)
class Expansion:
    """Thermal properties of a crystal from its phonons at three volumes.

    `volumes_A3` are those of the primitive cell; `bulk_eV_per_A3` is the static bulk modulus.
    """

    at_volumes: tuple[Vibrations, Vibrations, Vibrations]
    volumes_A3: tuple[float, float, float]
    bulk_eV_per_A3: float

    def linear(self, temperature_K: float) -> float:
        """Return the linear expansion coefficient in 1/K: a third of the volume's."""
        return float(self._slope(temperature_K) / self.bulk_eV_per_A3 / 3)

    def grueneisen(self, temperature_K: float) -> float:
        """Return the thermal Grueneisen parameter V (dS/dV)_T / C_V (dimensionless)."""
        capacity = self.at_volumes[1].heat_capacity(temperature_K)
        return float(self.volumes_A3[1] * self._slope(temperature_K) / capacity)

    def _slope(self, temperature_K: float) -> float:
        low, _, high = (each.entropy(temperature_K) for each in self.at_volumes)
        return (high - low) / (self.volumes_A3[2] - self.volumes_A3[0])


def expansion(crystal: Atoms, calculator: Calculator, settings: ValidationSettings) -> Expansion:
    """Compute phonons and pressure round the volume of the relaxed `crystal`.

    Where a mode that is interpolated is imaginary, the wave vectors that fit the cell are taken
    instead. Raises PotentialError, also where a mode of these is: there is no harmonic crystal.
    """
    try:
        return _expansion(crystal, calculator, settings, exact=False)
    except _ImaginaryError:
        return _expansion(crystal, calculator, settings, exact=True)


class _ImaginaryError(PotentialError):
    """A mode is imaginary."""


def _expansion(
    crystal: Atoms, calculator: Calculator, settings: ValidationSettings, *, exact: bool
) -> Expansion:
    freedom = shape_freedom(crystal, settings.symprec_A)
    found, volumes, pressures = [], [], []
    for change in (-_CHANGE, 0.0, _CHANGE):
        relaxed = relax(scaled(crystal, 1 + change), calculator, settings, cell=freedom)
        edge = settings.effort.thermal_edge_A
        at = vibrations(relaxed.atoms, calculator, settings, edge, exact=exact)
        if at.imaginary > 0:
            raise _ImaginaryError(
                f"{100 * at.imaginary:.2g} % of the modes are imaginary at {100 * change:+.1f} % "
                "of the volume: there is no harmonic crystal to warm"
            )
        found.append(at)
        volumes.append(relaxed.atoms.get_volume() / len(crystal) * at.primitive_atoms)
        stress = evaluate(relaxed.atoms, calculator).stress_eV_per_A3
        pressures.append(-float(stress[:3].mean()))
    bulk = -volumes[1] * (pressures[2] - pressures[0]) / (volumes[2] - volumes[0])
    if not bulk > 0:
        raise PotentialError("the pressure does not fall as the volume grows")
    return Expansion(
        (found[0], found[1], found[2]), (volumes[0], volumes[1], volumes[2]), float(bulk)
    )


@dataclass(frozen=True)
class ThermalExpansionCheck:
    """Judges the thermal expansion and the Grueneisen parameter."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "thermal_expansion"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the thermal expansion of `structure`; `test` is not used."""
        settings = self.settings
        try:
            relaxed = relax(crystal_of(structure), calculator, settings)
            found = expansion(relaxed.atoms, calculator, settings)
        except PotentialError as error:
            return failed(self.name, str(error))
        melting = found.at_volumes[1].lindemann_melting
        temperature = settings.thermal_temperature_K or min(300.0, melting / 2)
        numbers = {
            "thermal_expansion_per_K": found.linear(temperature),
            "grueneisen_parameter": found.grueneisen(temperature),
            "thermal_temperature_K": temperature,
            "lindemann_melting_K": melting,
        }
        complaints = []
        gamma = numbers["grueneisen_parameter"]
        if not abs(gamma) <= settings.max_grueneisen:
            complaints.append(
                f"the Grueneisen parameter is {gamma:.3g} (at most {settings.max_grueneisen:g}, "
                "either sign): the vibrations change with the volume as in no solid"
            )
        off, deviations = against_reference(numbers, settings)
        complaints += off
        reason = "; ".join(complaints) or (
            f"expands by {1e6 * numbers['thermal_expansion_per_K']:.3g}e-6 per K at "
            f"{temperature:.0f} K (quasi-harmonic; Grueneisen parameter {gamma:.2f}); melts near "
            f"{melting:.0f} K by Lindemann's rule"
        )
        grid = np.linspace(temperature / _POINTS, temperature, _POINTS)
        series = {
            "temperatures_K": grid.tolist(),
            "linear_expansion_per_K": [found.linear(float(T)) for T in grid],
            "grueneisen": [found.grueneisen(float(T)) for T in grid],
        }
        return CheckResult(self.name, not complaints, reason, {**numbers, **deviations}, series)
