"""Gate: forces and stress are the slopes of the energy, and the potential has its symmetries.

Everything after it (relaxation, MD, phonons) rests on that. Directional derivatives by
central differences on rattled supercells of the material; nothing is relaxed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.stress import voigt_6_to_full_3x3_stress
from scipy.spatial.transform import Rotation

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.evaluation import Evaluation, Floats, PotentialError, crystal_of, evaluate
from pyacemaker.validator.result import failed
from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.smoothness import find_jumps

_SEED = 20260101  # fixed: the gate has to give the same answer on every run
_RATTLE_A = 0.05
_STEP_A = 0.002
_STEP_STRAIN = 2e-4
_DIRECTIONS = 6
_SCALES = (0.97, 1.0, 1.03)  # of the lattice: a neighbour shell may cross the cutoff
_FORCE_FLOOR_eV_per_A = 1e-4  # below these, single-precision energies show no slope
_VIRIAL_FLOOR_eV_per_atom = 1e-3


@dataclass(frozen=True)
class ConsistencyCheck:
    """Compares forces and stress with the slope of the energy, and looks for broken symmetry."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "consistency"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the potential near `structure`; `test` is not used."""
        crystal = crystal_of(structure)
        try:
            return self._judge(calculator, crystal)
        except PotentialError as error:
            return failed(self.name, str(error))

    def _judge(self, calculator: Calculator, crystal: Atoms) -> CheckResult:
        rng = np.random.default_rng(_SEED)
        claimed: dict[str, list[float]] = {"force": [], "virial": []}
        measured: dict[str, list[float]] = {"force": [], "virial": []}
        worst_jitter = worst_rotation = worst_sum = 0.0
        for scale in _SCALES:
            atoms = _rattled(crystal, scale, rng)
            first = evaluate(atoms, calculator)
            turned = evaluate(_turned(atoms, rng), calculator, stress=False)
            worst_rotation = max(worst_rotation, _energy_gap(first, turned, len(atoms)))
            again = evaluate(atoms, calculator)  # only now: ASE keeps the last structure's results
            worst_jitter = max(worst_jitter, _energy_gap(first, again, len(atoms)))
            worst_sum = max(worst_sum, float(np.abs(first.forces_eV_per_A.sum(axis=0)).max()))
            for _ in range(_DIRECTIONS):
                direction = rng.normal(size=(len(atoms), 3))
                direction /= np.linalg.norm(direction)
                claimed["force"].append(float((first.forces_eV_per_A * direction).sum()))
                measured["force"].append(-_slope_along(atoms, direction, calculator))
            for strain in _unit_strains():
                sigma = voigt_6_to_full_3x3_stress(first.stress_eV_per_A3)
                virial = atoms.get_volume() * float((sigma * strain).sum()) / len(atoms)
                claimed["virial"].append(virial)
                measured["virial"].append(_slope_under(atoms, strain, calculator) / len(atoms))
        force = _compare(claimed["force"], measured["force"], _FORCE_FLOOR_eV_per_A)
        virial_error = _compare(claimed["virial"], measured["virial"], _VIRIAL_FLOOR_eV_per_atom)
        numbers = {
            "force_error_relative": force.error,
            "force_slope_ratio": force.ratio,
            "stress_error_relative": virial_error.error,
            "stress_slope_ratio": virial_error.ratio,
            "repeat_error_eV_per_atom": worst_jitter,
            "rotation_error_eV_per_atom": worst_rotation,
            "net_force_eV_per_A": worst_sum,
        }
        jumps = find_jumps(crystal, calculator)
        numbers |= {
            "energy_jump_relative": jumps.energy_relative,
            "pressure_jump_relative": jumps.pressure_relative,
        }
        tolerance = self.settings.consistency_tolerance
        force_scale = max(float(np.sqrt(np.mean(np.square(claimed["force"])))), 1e-3)
        complaints = []
        if worst_jitter > 1e-6:
            complaints.append(
                f"the energy of one structure varies by {worst_jitter:.2g} eV/atom between "
                "evaluations (noise)"
            )
        if force.error > tolerance:
            complaints.append(force.words("forces", "minus the slope of the energy"))
        if virial_error.error > tolerance:
            complaints.append(virial_error.words("stress", "the slope of the energy under strain"))
        if worst_rotation > 1e-4:
            complaints.append(
                f"the energy changes by {worst_rotation:.2g} eV/atom on rotating the crystal"
            )
        if worst_sum > tolerance * force_scale + 1e-4:
            complaints.append(
                f"the forces do not sum to zero ({worst_sum:.2g} eV/angstrom): not invariant "
                "under translation"
            )
        for what, size, where, allowed in (
            ("energy", jumps.energy_relative, jumps.energy_at, self.settings.max_energy_jump),
            (
                "pressure",
                jumps.pressure_relative,
                jumps.pressure_at,
                self.settings.max_pressure_jump,
            ),
        ):
            if size > allowed:
                complaints.append(
                    f"the {what} jumps by {100 * size:.2g} % of its range ({100 * allowed:g} % "
                    f"allowed) at {where:.4f} of the lattice constant: an abrupt cutoff or noise"
                )
        series = {
            "force_from_energy_eV_per_A": measured["force"],
            "force_eV_per_A": claimed["force"],
            "virial_from_energy_eV_per_atom": measured["virial"],
            "virial_eV_per_atom": claimed["virial"],
        }
        reason = "; ".join(complaints) or (
            f"forces and stress are the slopes of the energy to {_percent(force.error)} and "
            f"{_percent(virial_error.error)} ({100 * tolerance:g} % allowed)"
        )
        return CheckResult(self.name, not complaints, reason, numbers, series)


def _percent(share: float) -> str:
    """Return a share in per cent; below the floor of finite differences it is not told as 0."""
    return f"{100 * share:.2g} %" if share >= 1e-4 else "below 0.01 %"


@dataclass(frozen=True)
class _Comparison:
    error: float
    ratio: float

    def words(self, what: str, of: str) -> str:
        verb = "is" if what == "stress" else "are"
        if self.ratio < -0.5:
            return f"{what} {verb} not {of}: the sign is wrong (ratio {self.ratio:.2f})"
        return f"{what} {verb} not {of}: they differ by {100 * self.error:.2g} %"


def _compare(claimed: list[float], measured: list[float], floor: float) -> _Comparison:
    """Return the RMS difference over the RMS value, and the best factor between the two."""
    x, y = np.array(measured), np.array(claimed)
    scale = float(np.sqrt(np.mean(x**2)))
    error = float(np.sqrt(np.mean((x - y) ** 2)))
    ratio = float(x @ y / max(float(x @ x), 1e-300)) if scale > floor else 1.0
    return _Comparison(max(error - floor, 0.0) / max(scale, floor), ratio)


def _energy_gap(one: Evaluation, other: Evaluation, atoms: int) -> float:
    return abs(one.energy_eV - other.energy_eV) / atoms


def _rattled(crystal: Atoms, scale: float, rng: np.random.Generator) -> Atoms:
    """Return a supercell of at least four atoms, scaled and rattled."""
    atoms = crystal.copy()
    while len(atoms) < 4:
        atoms = atoms.repeat(np.where(np.arange(3) == np.argmin(atoms.cell.lengths()), 2, 1))
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    atoms.positions += rng.normal(scale=_RATTLE_A, size=atoms.positions.shape)
    return atoms


def _turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    rotation = Rotation.random(rng=rng).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell @ rotation.T, scale_atoms=False)
    turned.positions = atoms.positions @ rotation.T
    return turned


def _slope_along(atoms: Atoms, direction: Floats, calculator: Calculator) -> float:
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * _STEP_A * direction
        energies.append(evaluate(moved, calculator, stress=False).energy_eV)
    return (energies[0] - energies[1]) / (2 * _STEP_A)


def _slope_under(atoms: Atoms, strain: Floats, calculator: Calculator) -> float:
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell @ (np.eye(3) + sign * _STEP_STRAIN * strain), scale_atoms=True)
        energies.append(evaluate(strained, calculator, stress=False).energy_eV)
    return (energies[0] - energies[1]) / (2 * _STEP_STRAIN)


def _unit_strains() -> list[Floats]:
    """Return six symmetric strains, a unit of engineering strain each."""
    made = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5
        strain[j, i] += 0.5
        made.append(strain)
    return made
