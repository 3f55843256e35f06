"""Gate: the elastic tensor, the Born criteria, and the bulk modulus against the EOS.

Finite strains of our own rather than matcalc's ElasticityCalc, for which the two agree on
simple crystals (tested): ours relaxes the ions to 1e-4 eV/angstrom, uses small strains
with a cubic fit, keeps the raw tensor's departure from the crystal's symmetry as a
measure of the potential, and gives GPa in the standard frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.born import (
    INDEPENDENT,
    born_criteria,
    lowest_eigenvalue,
    softest_strain,
)
from pyacemaker.validator.eos import energy_curve, fit_birch_murnaghan
from pyacemaker.validator.evaluation import Floats, PotentialError, crystal_of, evaluate
from pyacemaker.validator.relax import Relaxed, relax
from pyacemaker.validator.result import against_reference, proposed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.tensor import (
    VOIGT,
    CrystalFrame,
    crystal_frame,
    moduli,
    rotated,
    symmetrised,
)


@dataclass(frozen=True)
class ElasticTensor:
    """The relaxed-ion stiffness at zero stress.

    `C_GPa` (6 x 6, Voigt xx, yy, zz, yz, xz, xy) is symmetrised and in the standard frame
    of `frame`. `symmetry_error` is how far the raw tensor was from that form and
    `nonlinearity` the RMS residual of the fits, both relative.
    """

    C_GPa: Floats
    frame: CrystalFrame
    symmetry_error: float
    nonlinearity: float
    strains: Floats
    stresses_GPa: Floats


def elastic_tensor(
    relaxed: Relaxed, calculator: Calculator, settings: ValidationSettings
) -> ElasticTensor:
    """Strain the relaxed crystal six ways, four strains each, ions relaxed in every one.

    Raises PotentialError.
    """
    crystal = relaxed.atoms
    strains = settings.elastic_strain * np.array([-1, -0.5, 0, 0.5, 1])
    unstrained = evaluate(crystal, calculator).stress_eV_per_A3 / units.GPa
    raw = np.empty((6, 6))
    stresses = np.empty((6, len(strains), 6))
    left = np.empty((6, len(strains), 6))
    for mode in range(6):
        for k, strain in enumerate(strains):
            if strain == 0:
                stresses[mode, k] = unstrained
                continue
            atoms = strained(crystal, strain * unit_strain(mode))
            try:
                found = relax(atoms, calculator, settings, cell="fixed", symmetric=False)
                state = evaluate(found.atoms, calculator)
            except PotentialError as error:
                raise PotentialError(
                    f"under {100 * strain:+.2g} % of strain {mode + 1} (Voigt) {error}"
                ) from error
            stresses[mode, k] = state.stress_eV_per_A3 / units.GPa
        x = strains / settings.elastic_strain
        fit = np.polynomial.polynomial.polyfit(x, stresses[mode], 3)
        left[mode] = stresses[mode] - np.polynomial.polynomial.polyval(x, fit).T
        raw[:, mode] = fit[1] / settings.elastic_strain
    frame = crystal_frame(crystal, settings.symprec_A)
    C = symmetrised(raw, frame.rotations)
    scale = max(float(np.ptp(stresses, axis=1).max()), 1e-12)
    return ElasticTensor(
        C_GPa=rotated(C, frame.to_standard),
        frame=frame,
        symmetry_error=float(np.linalg.norm(raw - C) / max(float(np.linalg.norm(C)), 1e-12)),
        nonlinearity=float(np.sqrt((left**2).mean(axis=1)).max() / scale),
        strains=strains,
        stresses_GPa=stresses,
    )


@dataclass(frozen=True)
class ElasticCheck:
    """Judges the elastic tensor."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "elastic"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the elastic constants of `structure`; `test` is not used."""
        crystal = crystal_of(structure)
        try:
            relaxed = relax(crystal, calculator, self.settings)
            crystal = relaxed.atoms
            found = elastic_tensor(relaxed, calculator, self.settings)
        except PotentialError as error:
            return CheckResult(
                self.name, False, str(error), failure_structures=self._voigt_strains(crystal)
            )
        return self._judge(calculator, relaxed, found)

    def _judge(self, calculator: Calculator, relaxed: Relaxed, found: ElasticTensor) -> CheckResult:
        settings, C, laue = self.settings, found.C_GPa, found.frame.laue
        named = dict.fromkeys(("C11", "C12", "C44", *INDEPENDENT[laue]))
        numbers = {f"{key}_GPa": float(C[int(key[1]) - 1, int(key[2]) - 1]) for key in named}
        numbers |= {
            "lowest_eigenvalue_GPa": lowest_eigenvalue(C),
            "symmetry_error_relative": found.symmetry_error,
            "nonlinearity_relative": found.nonlinearity,
        }
        criteria = born_criteria(C, laue)
        complaints = []
        if found.nonlinearity > settings.elastic_max_nonlinearity:
            complaints.append(
                f"stress is no smooth function of strain: residuals of "
                f"{100 * found.nonlinearity:.2g} % of its range "
                f"({100 * settings.elastic_max_nonlinearity:g} % allowed)"
            )
        if found.symmetry_error > settings.elastic_symmetry_tolerance:
            complaints.append(
                f"the tensor is {100 * found.symmetry_error:.2g} % off the form of "
                f"{found.frame.symbol} ({100 * settings.elastic_symmetry_tolerance:g} % allowed)"
            )
        violated = [item for item in criteria if not item.holds]
        lowest = numbers["lowest_eigenvalue_GPa"]
        unstable = bool(violated) or not lowest > settings.min_eigenvalue_GPa
        if unstable:
            named_ones = ", ".join(f"{i.name} ({i.value:.4g} {i.unit})" for i in violated)
            complaints.append(
                f"mechanically unstable ({laue}): "
                + (f"Born criterion violated: {named_ones}; " if violated else "")
                + f"lowest eigenvalue {lowest:.3g} GPa"
                + ("" if violated else f", above {settings.min_eigenvalue_GPa:g} GPa wanted")
            )
        else:
            complaints += self._moduli(calculator, relaxed, C, numbers)
        off, deviations = against_reference(numbers, settings)
        complaints += off
        reason = "; ".join(complaints) or (
            f"mechanically stable ({laue}, {found.frame.symbol}): "
            + ", ".join(f"{key} = {numbers[f'{key}_GPa']:.1f}" for key in INDEPENDENT[laue][:9])
            + f" GPa, lowest eigenvalue {lowest:.1f} GPa; bulk modulus "
            f"{numbers['bulk_modulus_vrh_GPa']:.1f} GPa (EOS {numbers['bulk_modulus_eos_GPa']:.1f})"
        )
        series: dict[str, Any] = {
            "elastic_tensor_GPa": C.tolist(),
            "crystal_system": laue,
            "space_group": found.frame.symbol,
            "born_criteria": [
                {"criterion": f"{i.name}, {i.unit}", "value": i.value, "passed": i.holds}
                for i in criteria
            ],
            "strains": found.strains.tolist(),
            "stresses_GPa": found.stresses_GPa.tolist(),
        }
        structures: tuple[Atoms, ...] = ()
        if unstable:
            structures = self._soft_strains(relaxed.atoms, found)
        elif complaints:
            structures = self._voigt_strains(relaxed.atoms)
        return CheckResult(
            self.name, not complaints, reason, {**numbers, **deviations}, series, structures
        )

    def _moduli(
        self, calculator: Calculator, relaxed: Relaxed, C: Floats, numbers: dict[str, float]
    ) -> list[str]:
        """Add the averages to `numbers`; compare the bulk modulus with the EOS."""
        settings = self.settings
        mean = moduli(C)
        numbers |= {
            "bulk_modulus_voigt_GPa": mean.bulk_voigt,
            "bulk_modulus_reuss_GPa": mean.bulk_reuss,
            "bulk_modulus_vrh_GPa": mean.bulk,
            "shear_modulus_voigt_GPa": mean.shear_voigt,
            "shear_modulus_reuss_GPa": mean.shear_reuss,
            "shear_modulus_vrh_GPa": mean.shear,
            "youngs_modulus_GPa": mean.youngs,
            "poisson_ratio": mean.poisson,
        }
        try:
            curve = energy_curve(relaxed, calculator, settings)
            fit = fit_birch_murnaghan(curve.volumes_A3, curve.energies_eV)
        except PotentialError as error:
            return [f"no bulk modulus from the equation of state to compare with: {error}"]
        # The EOS lets the shape of the cell relax, as pressure does: that is Reuss' average.
        deviation = mean.bulk_reuss / fit.B0_GPa - 1
        numbers |= {
            "bulk_modulus_eos_GPa": fit.B0_GPa,
            "bulk_modulus_deviation_relative": deviation,
        }
        if abs(deviation) <= settings.bulk_modulus_tolerance:
            return []
        return [
            f"the bulk modulus {mean.bulk_reuss:.1f} GPa is {100 * deviation:+.0f} % off the "
            f"{fit.B0_GPa:.1f} GPa of the equation of state "
            f"({100 * settings.bulk_modulus_tolerance:g} % allowed)"
        ]

    def _soft_strains(self, crystal: Atoms, found: ElasticTensor) -> tuple[Atoms, ...]:
        """Return cells strained along the softest mode, in the crystal's own frame."""
        turn = found.frame.to_standard
        soft = turn.T @ softest_strain(found.C_GPa) @ turn
        return worth_labelling(
            [
                proposed(strained(crystal, size * soft), "elastic", f"soft{size:+.2f}", strain=size)
                for size in (0.02, -0.02, 0.04, -0.04, 0.07, -0.07)
            ],
            self.settings,
        )

    def _voigt_strains(self, crystal: Atoms) -> tuple[Atoms, ...]:
        """Return cells strained along each Voigt component, both ways."""
        return worth_labelling(
            [
                proposed(
                    strained(crystal, size * unit_strain(mode)),
                    "elastic",
                    f"voigt{mode + 1}{size:+.2f}",
                    strain=size,
                    voigt=mode + 1,
                )
                for size in (0.02, -0.02)
                for mode in range(6)
            ],
            self.settings,
        )


def unit_strain(mode: int) -> Floats:
    """Return the strain (3 x 3) of Voigt component `mode` (0 to 5), engineering strain 1."""
    strain = np.zeros((3, 3))
    i, j = VOIGT[mode]
    strain[i, j] += 0.5
    strain[j, i] += 0.5
    return strain


def strained(crystal: Atoms, strain: Floats) -> Atoms:
    """Return `crystal` under a symmetric strain (3 x 3), fractions kept."""
    atoms = crystal.copy()
    atoms.set_cell(crystal.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms
