"""Gate: no imaginary phonons. The crystal is a minimum of the potential, not a saddle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from phonopy import Phonopy

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.commensurate import nearest_fraction
from pyacemaker.validator.evaluation import Floats, PotentialError, crystal_of, one_line
from pyacemaker.validator.lattice_dynamics import (
    DENOMINATOR,
    BandPath,
    ForceConstants,
    band_path,
    commensurate_points,
    exact_phonons,
    force_constants,
    frequencies,
    lengths,
    mesh_points,
)
from pyacemaker.validator.modulation import displaced_along_soft_modes
from pyacemaker.validator.relax import relax
from pyacemaker.validator.result import against_reference, failed
from pyacemaker.validator.settings import ValidationSettings

_EXACT_POINTS = 8  # wave vectors with an interpolated imaginary mode that are computed anew
_EXACT_ATOMS = 24  # above that many atoms a primitive cell is nearly a supercell by itself
_ENERGY_PER_ATOM_eV = 1e-4  # a supercell that differs by more is not a repeat of its cell


@dataclass(frozen=True)
class PhononCheck:
    """Judges the phonons on a mesh, on the band path and where they fit the supercell."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "phonons"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the phonons of `structure`; `test` is not used."""
        crystal = crystal_of(structure)
        try:
            relaxed = relax(crystal, calculator, self.settings)
            found = force_constants(relaxed.atoms, calculator, self.settings)
        except PotentialError as error:
            return failed(self.name, str(error))
        except (RuntimeError, ValueError, np.linalg.LinAlgError) as error:
            return failed(self.name, f"phonopy gives up on this potential: {one_line(error)}")
        try:
            return self._judge(found, calculator)
        except PotentialError as error:
            return failed(self.name, str(error))

    def _judge(self, found: ForceConstants, calculator: Calculator) -> CheckResult:
        settings, phonopy, primitive = self.settings, found.phonopy, found.primitive
        fitting = commensurate_points(phonopy)
        at_fitting = frequencies(phonopy, fitting)
        path = band_path(primitive)
        bands = [frequencies(phonopy, stretch) for stretch in path.stretches]
        mesh, on_mesh = mesh_points(phonopy, settings.phonon_mesh_length_A)
        between = np.concatenate([mesh, *path.stretches])
        values = np.concatenate([on_mesh, *bands])
        if not (np.isfinite(values).all() and np.isfinite(at_fitting).all()):
            return failed(self.name, "phonon frequencies are not finite")
        radius = _gamma_radius(fitting, primitive)
        numbers = {
            "highest_frequency_THz": float(max(values.max(), at_fitting.max())),
            "supercell_atoms": float(found.supercell_atoms),
            "supercell_height_A": found.supercell_height_A,
            "displaced_supercells": float(found.displacements),
            "sum_rule_error_relative": found.drift_relative,
            "supercell_energy_error_eV_per_atom": found.energy_error_eV_per_atom,
        }
        corners = _looked_at_exactly(primitive, _unfitting_corners(path, fitting), calculator)
        exact = min([_lowest(fitting, at_fitting, primitive, 0.0), *corners])
        loose = _lowest(between, values, primitive, radius)
        near = lengths(between, primitive) < radius
        numbers["lowest_interpolated_frequency_THz"] = loose.frequency
        numbers["lowest_frequency_near_gamma_THz"] = min(float(values[near].min()), 0.0)
        suspects = np.where(
            near,
            values.min(axis=1) < -settings.phonon_gamma_tolerance_THz,
            values.min(axis=1) < -settings.phonon_tolerance_THz,
        )
        looked_at: list[_Lowest] = []
        lowest = min(exact, loose)
        if exact.frequency < -settings.phonon_tolerance_THz:
            lowest = exact
        elif suspects.any() and len(primitive) <= _EXACT_ATOMS:
            order = np.argsort(values[suspects].min(axis=1))
            looked_at = _looked_at_exactly(primitive, between[suspects][order], calculator)
            lowest = min([exact, *looked_at])
        numbers["lowest_frequency_THz"] = lowest.frequency
        complaints = []
        if lowest.frequency < -settings.phonon_tolerance_THz:
            complaints.append(
                f"imaginary phonons: {-lowest.frequency:.3f}i THz at q = {lowest.where} "
                f"({settings.phonon_tolerance_THz:g}i allowed)"
            )
        if (
            numbers["lowest_frequency_near_gamma_THz"] < -settings.phonon_gamma_tolerance_THz
            and len(primitive) > _EXACT_ATOMS
        ):
            complaints.append(
                "imaginary phonons near Gamma: "
                f"{-numbers['lowest_frequency_near_gamma_THz']:.3f}i THz "
                f"({settings.phonon_gamma_tolerance_THz:g}i allowed there)"
            )
        if numbers["highest_frequency_THz"] <= settings.phonon_tolerance_THz:
            complaints.append(
                f"no restoring forces: the highest phonon has "
                f"{numbers['highest_frequency_THz']:.3g} THz"
            )
        unstable = bool(complaints)
        if found.energy_error_eV_per_atom > _ENERGY_PER_ATOM_eV:
            complaints.append(
                f"the supercell's energy differs from its unit cell's by "
                f"{found.energy_error_eV_per_atom:.2g} eV/atom: not size-extensive"
            )
        off, deviations = against_reference(numbers, settings)
        complaints += off
        reason = "; ".join(complaints) or (
            f"no imaginary phonons: {numbers['lowest_frequency_THz']:.3f} to "
            f"{numbers['highest_frequency_THz']:.3f} THz away from Gamma, by a supercell of "
            f"{found.supercell_atoms} atoms, {found.supercell_height_A:.1f} angstrom across"
            + (
                f"; the interpolated {-loose.frequency:.2f}i THz is none in cells that fit its wave"
                if looked_at
                else ""
            )
        )
        series: dict[str, Any] = {
            "distances_per_A": [d.tolist() for d in path.distances],
            "frequencies_THz": [b.tolist() for b in bands],
            "labels": list(path.labels),
            "label_positions_per_A": list(path.positions),
        }
        structures: tuple[Atoms, ...] = ()
        if unstable:
            soft = [
                (item.phonopy, np.array([item.q]))
                for item in corners + looked_at
                if item.phonopy and item.frequency < -settings.phonon_tolerance_THz
            ]
            structures = displaced_along_soft_modes([(phonopy, fitting), *soft], settings)
        return CheckResult(
            self.name, not complaints, reason, {**numbers, **deviations}, series, structures
        )


@dataclass(frozen=True, order=True)
class _Lowest:
    frequency: float
    where: str
    q: tuple[float, ...] = field(default=(0.0, 0.0, 0.0), compare=False)
    phonopy: Phonopy | None = field(default=None, compare=False)


def _lowest(points: Floats, values: Floats, primitive: Atoms, radius: float) -> _Lowest:
    """Return the lowest frequency further than `radius` from Gamma; at Gamma, of the optical."""
    distance = lengths(points, primitive)
    far = distance >= max(radius, 1e-6)
    found = [
        _Lowest(float(low), _name(q), tuple(q))
        for q, low in zip(points[far], values[far].min(axis=1), strict=True)
    ]
    # The three nearest to zero are the translations.
    at_gamma = values[distance < 1e-6]
    order = np.argsort(np.abs(at_gamma), axis=1)
    optical = np.take_along_axis(at_gamma, order, axis=1)[:, 3:]
    if optical.size:
        found.append(_Lowest(float(optical.min()), "Gamma (optical)"))
    return min(found, default=_Lowest(0.0, "Gamma"))


def _unfitting_corners(path: BandPath, fitting: Floats) -> Floats:
    """Return the corners of the path that do not fit the supercell: instabilities hide there."""
    corners = np.array([q for stretch in path.stretches for q in (stretch[0], stretch[-1])])
    corners = np.unique(np.round(corners, 9), axis=0)
    gaps = corners[:, None, :] - fitting[None, :, :]
    fits = (np.abs(gaps - np.rint(gaps)).max(axis=2) < 1e-6).any(axis=1)
    return np.asarray(corners[~fits])


def _looked_at_exactly(primitive: Atoms, suspects: Floats, calculator: Calculator) -> list[_Lowest]:
    """Return the exact lowest frequencies near the first few different wave vectors."""
    if len(primitive) > _EXACT_ATOMS:
        return []
    reciprocal = primitive.cell.reciprocal().array
    found: dict[str, _Lowest] = {}
    for q in suspects:
        fraction = nearest_fraction(q, reciprocal, DENOMINATOR)
        if lengths(fraction[None], primitive)[0] < 1e-6:
            if np.abs(q).max() < 1e-6:
                continue
            fraction = np.rint(q / np.abs(q).max()) / DENOMINATOR  # the longest wave that way
        name = _name(fraction)
        if name in found:
            continue
        exact = exact_phonons(primitive, fraction, calculator)
        lowest = float(frequencies(exact, fraction[None]).min())
        found[name] = _Lowest(lowest, name, tuple(fraction), exact)
        if len(found) == _EXACT_POINTS:
            break
    return list(found.values())


def _name(q: Floats) -> str:
    return "(" + ", ".join(f"{x:.3g}" for x in q + 0.0) + ")"


def _gamma_radius(exact: Floats, primitive: Atoms) -> float:
    """Return half the shortest wave vector (1/angstrom) that fits the supercell.

    Nearer to Gamma everything is interpolated from forces that the supercell cuts off, and
    the slope of the acoustic branches is the elastic gate's affair.
    """
    reach = lengths(exact, primitive)
    own = np.linalg.norm(primitive.cell.reciprocal().array, axis=1)
    return float(min([*reach[reach > 1e-6], *own])) / 2
