"""Gate: hot molecular dynamics loses no atom, and the total energy does not drift.

A supercell is heated to the melting range at constant pressure, then runs on at constant
energy by velocity Verlet, where a potential whose forces are the slope of its energy keeps
the total. The criterion on the fluctuation is that of M. P. Allen and D. J. Tildesley,
Computer Simulation of Liquids, 2nd edition (2017), section 3.5.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.defect_cells import neighbour_distance, supercell_of
from pyacemaker.validator.evaluation import PotentialError, attach, crystal_of, one_line
from pyacemaker.validator.harmonic import vibrations
from pyacemaker.validator.relax import relax
from pyacemaker.validator.result import failed, proposed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings

_SEED = 20260103
_STEPS_A_PERIOD = 30  # of the fastest mode
_LOOK_EVERY = 10
_COLLAPSE = 0.5  # of the sum of covalent radii, as in a relaxation
_LOST = 2.0  # neighbour distances without any atom
_RUNAWAY = 4.0  # times the temperature that was asked for
_SWELLING = 2.0  # times the volume
_DRIFT_OF_THERMAL = 0.02  # of 3/2 kT in each ps


class _LostError(RuntimeError):
    """The run went wrong; the message says how."""


@dataclass(frozen=True)
class Run:
    """A run that kept its atoms.

    `totals_eV` and `kinetic_eV` (one for each step at constant energy) are an atom's.
    """

    temperature_K: float
    timestep_fs: float
    steps: int
    atoms: int
    totals_eV: np.ndarray[Any, np.dtype[np.float64]]
    kinetic_eV: np.ndarray[Any, np.dtype[np.float64]]
    volume_ratio: float

    @property
    def drift(self) -> float:
        """Slope of the total energy in meV an atom and ps."""
        time = np.arange(len(self.totals_eV)) * self.timestep_fs / 1000
        return float(1000 * np.polyfit(time, self.totals_eV, 1)[0])

    @property
    def fluctuation(self) -> float:
        """RMS deviation of the total energy from its line, over that of the kinetic energy."""
        time = np.arange(len(self.totals_eV))
        left = self.totals_eV - np.polyval(np.polyfit(time, self.totals_eV, 1), time)
        return float(left.std() / max(float(self.kinetic_eV.std()), 1e-12))


@dataclass(frozen=True)
class MDStabilityCheck:
    """Runs molecular dynamics in the melting range."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "md_stability"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Heat `structure`; `test` is not used."""
        settings, effort = self.settings, self.settings.effort
        try:
            crystal = relax(crystal_of(structure), calculator, settings).atoms
            modes = vibrations(crystal, calculator, settings, effort.md_edge_A)
        except PotentialError as error:
            return failed(self.name, str(error))
        atoms = supercell_of(crystal, effort.md_edge_A, effort.md_atoms, settings)
        atoms = attach(atoms, calculator)
        temperature = settings.md_temperature_K or modes.lindemann_melting
        step_fs = 1000 / float(modes.frequencies_THz.max()) / _STEPS_A_PERIOD
        rows: dict[str, list[float]] = {"time_ps": [], "temperature_K": [], "volume_ratio": []}
        last = [atoms.copy()]
        try:
            found = _go(atoms, temperature, step_fs, settings, rows, last)
        except _LostError as error:
            wanted = proposed(last[0], self.name, "lost", temperature_K=temperature)
            return CheckResult(
                self.name,
                False,
                f"molecular dynamics at {temperature:.0f} K: {error}",
                {"md_temperature_K": temperature},
                rows,
                worth_labelling([wanted], settings),
            )
        return self._judge(found, rows)

    def _judge(self, found: Run, rows: dict[str, list[float]]) -> CheckResult:
        settings = self.settings
        thermal_meV = 1500 * units.kB * found.temperature_K
        limit = max(settings.md_max_drift_meV_per_atom_ps, _DRIFT_OF_THERMAL * thermal_meV)
        numbers = {
            "md_temperature_K": found.temperature_K,
            "md_timestep_fs": found.timestep_fs,
            "md_steps": float(found.steps),
            "md_atoms": float(found.atoms),
            "energy_drift_meV_per_atom_ps": found.drift,
            "energy_fluctuation_relative": found.fluctuation,
            "volume_ratio": found.volume_ratio,
        }
        complaints = []
        if abs(found.drift) > limit:
            complaints.append(
                f"the total energy drifts by {found.drift:.2g} meV/atom in each ps "
                f"({limit:.2g} allowed)"
            )
        if found.fluctuation > settings.md_max_fluctuation:
            complaints.append(
                f"the total energy fluctuates by {100 * found.fluctuation:.2g} % of what the "
                f"kinetic energy does ({100 * settings.md_max_fluctuation:g} % allowed)"
            )
        length = found.steps * found.timestep_fs / 1000
        scope = (
            f"{found.atoms} atoms, {length:.2g} ps at constant pressure and {length:.2g} ps at "
            f"constant energy at {found.temperature_K:.0f} K"
        )
        reason = (
            f"{'; '.join(complaints)}: {scope}"
            if complaints
            else f"no atom lost, drift {found.drift:.2g} meV/atom/ps, fluctuation "
            f"{100 * found.fluctuation:.2g} % of the kinetic energy's: {scope}"
        )
        series = {**rows, "total_energy_eV_per_atom": found.totals_eV.tolist()}
        return CheckResult(self.name, not complaints, reason, numbers, series)


def _go(
    atoms: Atoms,
    temperature_K: float,
    step_fs: float,
    settings: ValidationSettings,
    rows: dict[str, list[float]],
    last: list[Atoms],
) -> Run:
    """Run both parts; `rows` and the last sound frame are filled in. Raises _LostError."""
    rng = np.random.default_rng(_SEED)
    thermalize_momenta(atoms, temperature_K=2 * temperature_K, rng=rng)
    Stationary(atoms)
    steps = settings.md_steps or settings.effort.md_steps
    step = step_fs * units.fs
    start, distance = atoms.get_volume(), neighbour_distance(atoms)
    totals: list[float] = []
    kinetic: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heuristics of ASE that are meant here
        at_pressure = LangevinBAOAB(
            atoms,
            step,
            temperature_K=temperature_K,
            externalstress=0.0,
            hydrostatic=True,
            T_tau=100 * step,
            P_tau=1000 * step,
            rng=rng,
        )
        at_energy = VelocityVerlet(atoms, step)
    try:
        for integrator in (at_pressure, at_energy):
            for number in range(steps):
                integrator.step()
                if integrator is at_energy:
                    kinetic.append(float(atoms.get_kinetic_energy()) / len(atoms))
                    totals.append(kinetic[-1] + float(atoms.get_potential_energy()) / len(atoms))
                if (number + 1) % _LOOK_EVERY == 0:
                    _look(atoms, temperature_K, start, distance)
                    time = rows["time_ps"]
                    time.append((time[-1] if time else 0.0) + _LOOK_EVERY * step_fs / 1000)
                    rows["temperature_K"].append(float(atoms.get_temperature()))
                    rows["volume_ratio"].append(float(atoms.get_volume() / start))
                    last[0] = atoms.copy()
    except _LostError:
        raise
    except Exception as error:  # a bad potential may break anything
        raise _LostError(f"the run broke down: {one_line(error)}") from error
    return Run(
        temperature_K,
        step_fs,
        steps,
        len(atoms),
        np.array(totals),
        np.array(kinetic),
        float(atoms.get_volume() / start),
    )


def _look(atoms: Atoms, temperature_K: float, start_A3: float, distance_A: float) -> None:
    """Raise _LostError where the cell or an atom is no longer what it was."""
    kelvin = float(atoms.get_temperature())
    if not (math.isfinite(kelvin) and np.isfinite(atoms.positions).all()):
        raise _LostError("positions or velocities are no longer finite")
    if kelvin > _RUNAWAY * temperature_K:
        raise _LostError(f"the temperature runs away to {kelvin:.0f} K")
    ratio = float(atoms.get_volume() / start_A3)
    if ratio > _SWELLING:
        raise _LostError(f"the cell flies apart, to {ratio:.2g} times its volume")
    radii = covalent_radii[atoms.numbers]
    reach = _LOST * distance_A * max(1.0, ratio ** (1 / 3))
    i, j, d = neighbor_list("ijd", atoms, reach)
    close = d < _COLLAPSE * (radii[i] + radii[j])
    if close.any():
        raise _LostError(f"two atoms collapse to {d[close].min():.2f} angstrom")
    alone = len(atoms) - len(np.unique(i))
    if alone:
        raise _LostError(
            f"{alone} of {len(atoms)} atoms have left: none within {reach:.1f} angstrom"
        )
