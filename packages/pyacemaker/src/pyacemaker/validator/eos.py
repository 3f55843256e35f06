"""Gate: the equation of state is smooth, has one minimum and a sane bulk modulus."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState, birchmurnaghan
from spglib import get_symmetry_dataset

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.evaluation import Floats, PotentialError, crystal_of, evaluate
from pyacemaker.validator.relax import CellFreedom, Relaxed, relax
from pyacemaker.validator.result import against_reference, failed, proposed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings


@dataclass(frozen=True)
class EnergyCurve:
    """E(V) of a relaxed crystal: ions, and the shape of a cell that is not cubic, relaxed.

    All an atom: `volumes_A3`, `energies_eV`; `pressures_GPa` = -trace(stress)/3 at them.
    """

    volumes_A3: Floats
    energies_eV: Floats
    pressures_GPa: Floats
    structures: tuple[Atoms, ...]

    @property
    def height(self) -> float:
        """Highest energy above the lowest, eV/atom."""
        return float(np.ptp(self.energies_eV))


@dataclass(frozen=True)
class BirchMurnaghan:
    """A third-order Birch-Murnaghan fit, an atom; `misfit_eV` is the RMS residual."""

    E0_eV: float
    V0_A3: float
    B0_GPa: float
    B0_prime: float
    misfit_eV: float

    def energies(self, volumes_A3: Floats) -> Floats:
        """Return the fitted energies (eV/atom) at volumes (angstrom^3/atom)."""
        return np.asarray(
            birchmurnaghan(
                volumes_A3, self.E0_eV, self.B0_GPa * units.GPa, self.B0_prime, self.V0_A3
            )
        )


def energy_curve(
    relaxed: Relaxed, calculator: Calculator, settings: ValidationSettings
) -> EnergyCurve:
    """Compute E(V) round the relaxed crystal. Raises PotentialError."""
    crystal = relaxed.atoms
    freedom = shape_freedom(crystal, settings.symprec_A)
    count = settings.eos_points | 1
    volumes, energies, pressures, structures = [], [], [], []
    for change in np.linspace(-settings.eos_range, settings.eos_range, count):
        strained = scaled(crystal, 1 + float(change))
        try:
            found = relax(strained, calculator, settings, cell=freedom)
            state = evaluate(found.atoms, calculator)
        except PotentialError as error:
            raise PotentialError(f"at {100 * change:+.0f} % of the volume {error}") from error
        volumes.append(found.atoms.get_volume() / len(crystal))
        energies.append(state.energy_eV / len(crystal))
        pressures.append(-state.stress_eV_per_A3[:3].mean() / units.GPa)
        structures.append(found.atoms)
    return EnergyCurve(
        np.array(volumes), np.array(energies), np.array(pressures), tuple(structures)
    )


def fit_birch_murnaghan(volumes_A3: Floats, energies_eV: Floats) -> BirchMurnaghan:
    """Fit by ASE (Birch, Phys. Rev. 71, 809 (1947)). Raises PotentialError without a minimum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            equation = EquationOfState(volumes_A3, energies_eV, eos="birchmurnaghan")
            equation.fit(warn=False)
            E0, B0, slope, V0 = (float(value) for value in equation.eos_parameters)
        except Exception as error:
            raise PotentialError(f"no Birch-Murnaghan curve fits E(V): {error}") from error
    if not (np.isfinite([E0, B0, slope, V0]).all() and V0 > 0):
        raise PotentialError("no Birch-Murnaghan curve with a minimum fits E(V)")
    fit = BirchMurnaghan(E0, V0, B0 / units.GPa, slope, 0.0)
    misfit = float(np.sqrt(np.mean((fit.energies(volumes_A3) - energies_eV) ** 2)))
    return BirchMurnaghan(E0, V0, B0 / units.GPa, slope, misfit)


@dataclass(frozen=True)
class EosCheck:
    """Judges E(V)."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "eos"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the equation of state of `structure`; `test` is not used."""
        crystal = crystal_of(structure)
        try:
            relaxed = relax(crystal, calculator, self.settings)
            curve = energy_curve(relaxed, calculator, self.settings)
        except PotentialError as error:
            return CheckResult(
                self.name, False, str(error), failure_structures=self._volumes(crystal)
            )
        try:
            return self._judge(calculator, relaxed, curve)
        except PotentialError as error:
            return failed(self.name, str(error))

    def _judge(self, calculator: Calculator, relaxed: Relaxed, curve: EnergyCurve) -> CheckResult:
        settings = self.settings
        scale = max(curve.height, 1e-12)
        roughness = _roughness(curve) / scale
        mismatch = _pressure_mismatch(curve) / scale
        minima = _minima(curve.energies_eV)
        numbers = {
            "minima_in_range": float(len(minima)),
            "roughness_relative": roughness,
            "pressure_mismatch_relative": mismatch,
            "relaxation_volume_change_relative": relaxed.volume_change,
        }
        series: dict[str, list[float]] = {
            "volumes_A3_per_atom": curve.volumes_A3.tolist(),
            "energies_eV_per_atom": curve.energies_eV.tolist(),
        }
        complaints = []
        if len(minima) != 1:
            at = ", ".join(f"{curve.volumes_A3[i]:.2f}" for i in minima)
            complaints.append(
                f"E(V) has {len(minima)} minima in its range"
                + (f" (at {at} angstrom^3/atom)" if minima else "")
                + ", one expected"
            )
        if roughness > settings.eos_max_roughness:
            complaints.append(
                f"E(V) is not smooth: noise or kinks of {1000 * roughness * scale:.2g} meV/atom, "
                f"{100 * roughness:.2g} % of its height "
                f"({100 * settings.eos_max_roughness:g} % allowed)"
            )
        if mismatch > settings.eos_pressure_tolerance:
            complaints.append(
                f"the pressure is not -dE/dV: its integral misses E(V) by {100 * mismatch:.2g} % "
                f"of its height ({100 * settings.eos_pressure_tolerance:g} % allowed)"
            )
        complaints += self._fitted(relaxed, curve, numbers, series)
        series["pressures_GPa"] = curve.pressures_GPa.tolist()
        complaints += self._deeper(calculator, relaxed, curve, series)
        off, deviations = against_reference(numbers, settings)
        complaints += off
        reason = "; ".join(complaints) or (
            f"smooth with one minimum: V0 = {numbers['V0_A3_per_atom']:.3f} angstrom^3/atom, "
            f"B0 = {numbers['B0_GPa']:.1f} GPa, B0' = {numbers['B0_prime']:.2f}, "
            f"roughness {100 * roughness:.2g} % of the height"
        )
        return CheckResult(
            self.name,
            not complaints,
            reason,
            {**numbers, **deviations},
            series,
            self._volumes(relaxed.atoms) if complaints else (),
        )

    def _fitted(
        self,
        relaxed: Relaxed,
        curve: EnergyCurve,
        numbers: dict[str, float],
        series: dict[str, list[float]],
    ) -> list[str]:
        """Add the fit to `numbers` and `series`; return what is wrong with it."""
        settings = self.settings
        try:
            fit = fit_birch_murnaghan(curve.volumes_A3, curve.energies_eV)
        except PotentialError as error:
            return [str(error)]
        misfit = fit.misfit_eV / max(curve.height, 1e-12)
        numbers |= {
            "E0_eV_per_atom": fit.E0_eV,
            "V0_A3_per_atom": fit.V0_A3,
            "B0_GPa": fit.B0_GPa,
            "B0_prime": fit.B0_prime,
            "misfit_eV_per_atom": fit.misfit_eV,
            "misfit_relative": misfit,
        }
        if (
            a0 := _cubic_lattice_constant(relaxed.atoms, fit.V0_A3, settings.symprec_A)
        ) is not None:
            numbers["a0_A"] = a0
        dense = np.linspace(curve.volumes_A3[0], curve.volumes_A3[-1], 101)
        series["fit_volumes_A3_per_atom"] = dense.tolist()
        series["fit_energies_eV_per_atom"] = fit.energies(dense).tolist()
        complaints = []
        if not settings.min_bulk_modulus_GPa <= fit.B0_GPa <= settings.max_bulk_modulus_GPa:
            complaints.append(
                f"B0 = {fit.B0_GPa:.4g} GPa is outside {settings.min_bulk_modulus_GPa:g} to "
                f"{settings.max_bulk_modulus_GPa:g} GPa"
            )
        if not curve.volumes_A3[0] < fit.V0_A3 < curve.volumes_A3[-1]:
            complaints.append(
                f"V0 = {fit.V0_A3:.3f} angstrom^3/atom is outside the range computed, "
                f"{curve.volumes_A3[0]:.3f} to {curve.volumes_A3[-1]:.3f}"
            )
        if misfit > settings.eos_max_misfit:
            complaints.append(
                f"E(V) is no Birch-Murnaghan curve: RMS residual {1000 * fit.misfit_eV:.2g} "
                f"meV/atom, {100 * misfit:.2g} % of its height "
                f"({100 * settings.eos_max_misfit:g} % allowed)"
            )
        return complaints

    def _deeper(
        self,
        calculator: Calculator,
        relaxed: Relaxed,
        curve: EnergyCurve,
        series: dict[str, list[float]],
    ) -> list[str]:
        """Look beyond the range, ions fixed, for a state below the minimum."""
        settings = self.settings
        lowest = float(curve.energies_eV.min())
        below = np.linspace(-settings.eos_wide_compression, -settings.eos_range, 7)[:-1]
        above = np.linspace(settings.eos_range, settings.eos_wide_expansion, 7)[1:]
        changes = [c for c in below if c < -settings.eos_range]
        changes += [c for c in above if c > settings.eos_range]
        volumes, energies = [], []
        for change in changes:
            atoms = scaled(relaxed.atoms, 1 + float(change))
            state = evaluate(atoms, calculator, stress=False)
            volumes.append(atoms.get_volume() / len(atoms))
            energies.append(state.energy_eV / len(atoms))
        series["scan_volumes_A3_per_atom"] = volumes
        series["scan_energies_eV_per_atom"] = energies
        if energies and min(energies) < lowest - 1e-4:
            deepest = int(np.argmin(energies))
            return [
                f"E(V) has a deeper state at {volumes[deepest]:.2f} angstrom^3/atom, "
                f"{1000 * (lowest - energies[deepest]):.3g} meV/atom below the minimum"
            ]
        return []

    def _volumes(self, crystal: Atoms) -> tuple[Atoms, ...]:
        """Return crystals over the range of volumes, for labels."""
        count = max(1, min(self.settings.max_failure_structures, 9))
        wide = 1.25 * self.settings.eos_range
        return worth_labelling(
            [
                proposed(
                    scaled(crystal, 1 + float(change)),
                    "eos",
                    f"V{change:+.3f}",
                    relative_volume=float(1 + change),
                )
                for change in np.linspace(-wide, wide, count)
            ],
            self.settings,
        )


def scaled(crystal: Atoms, ratio: float) -> Atoms:
    """Return `crystal` with its volume times `ratio`, its shape and fractions kept."""
    atoms = crystal.copy()
    atoms.set_cell(crystal.cell * ratio ** (1 / 3), scale_atoms=True)
    return atoms


def shape_freedom(crystal: Atoms, symprec: float) -> CellFreedom:
    """Return `fixed` for cubic crystals, whose shape is symmetry's, otherwise `shape`."""
    return "fixed" if space_group(crystal, symprec) >= 195 else "shape"


def space_group(crystal: Atoms, symprec: float) -> int:
    """Return the number of the space group, 1 where spglib finds none."""
    data = get_symmetry_dataset(
        (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers), symprec=symprec
    )
    return 1 if data is None else int(data.number)


def _cubic_lattice_constant(crystal: Atoms, volume: float, symprec: float) -> float | None:
    data = get_symmetry_dataset(
        (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers), symprec=symprec
    )
    if data is None or data.number < 195:
        return None
    return float((len(data.std_types) * volume) ** (1 / 3))


def _minima(energies: Floats) -> list[int]:
    """Return the indices of the local minima inside the range."""
    inner = range(1, len(energies) - 1)
    return [i for i in inner if energies[i - 1] >= energies[i] < energies[i + 1]]


def _roughness(curve: EnergyCurve) -> float:
    """Return the largest residual (eV/atom) of a smooth curve: a quintic in V^(-2/3).

    Two orders above Birch-Murnaghan, so that what is left is noise and kinks, not physics.
    """
    x = curve.volumes_A3 ** (-2 / 3)
    x = 2 * (x - x.min()) / np.ptp(x) - 1
    smooth = np.polynomial.chebyshev.chebfit(x, curve.energies_eV, 5)
    residual = curve.energies_eV - np.polynomial.chebyshev.chebval(x, smooth)
    return float(np.abs(residual).max())


def _pressure_mismatch(curve: EnergyCurve) -> float:
    """Return the largest |E(V) + integral P dV + constant| (eV/atom)."""
    V = curve.volumes_A3
    x = (V - V.mean()) / np.ptp(V)
    pressure = np.polynomial.Polynomial.fit(x, curve.pressures_GPa * units.GPa, 5)
    work = -pressure.integ()(x) * np.ptp(V)
    gap = curve.energies_eV - work
    return float(np.ptp(gap) / 2)
