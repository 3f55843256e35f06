"""Thresholds of the gates. docs/validation.md gives the reason and the source of each."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pyacemaker.validator.tier import EFFORTS, Effort, Tier

Gate = Literal[
    "consistency",
    "short_range",
    "eos",
    "elastic",
    "phonons",
    "vacancy",
    "surface",
    "thermal_expansion",
    "md_stability",
    "test_error",
]

GATES: tuple[Gate, ...] = (
    "consistency",
    "short_range",
    "eos",
    "elastic",
    "phonons",
    "vacancy",
    "surface",
    "thermal_expansion",
    "md_stability",
    "test_error",
)

_REFERENCE_KEYS = (
    "a0_A",
    "V0_A3_per_atom",
    "E0_eV_per_atom",
    "B0_GPa",
    "B0_prime",
    "bulk_modulus_vrh_GPa",
    "shear_modulus_vrh_GPa",
    "youngs_modulus_GPa",
    "lowest_frequency_THz",
    "highest_frequency_THz",
    "vacancy_formation_energy_eV",
    "schottky_energy_eV",
    "thermal_expansion_per_K",
    "grueneisen_parameter",
    *(f"C{i}{j}_GPa" for i in range(1, 7) for j in range(i, 7)),
)

_SURFACE_KEY = re.compile(r"surface_energy_-?\d-?\d-?\d_J_per_m2")


class ValidationSettings(BaseModel):
    """What a potential has to satisfy to be let loose. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gates: tuple[Gate, ...] = Field(
        default=GATES, min_length=1, description="The gates to run, in this order."
    )
    max_atoms: int = Field(
        default=64,
        ge=1,
        le=1000,
        description="Most atoms in a structure that a failed gate proposes for a label.",
    )
    max_failure_structures: int = Field(
        default=12, ge=0, le=1000, description="Most structures one failed gate proposes."
    )

    relax_fmax_eV_per_A: float = Field(
        default=1e-4,
        gt=0,
        le=0.1,
        description="Relaxation aims at this largest force in eV/angstrom (cell: virial in eV "
        "an atom).",
    )
    relax_accept_fmax_eV_per_A: float = Field(
        default=5e-3,
        gt=0,
        le=0.5,
        description="A relaxation that stalls below this force in eV/angstrom is still accepted.",
    )
    relax_max_steps: int = Field(
        default=300, ge=1, le=100_000, description="Most optimiser steps of one relaxation."
    )
    max_volume_change: float = Field(
        default=0.4,
        gt=0,
        lt=10,
        description="Largest relative change of the volume on relaxation, either way (a ratio).",
    )
    symprec_A: float = Field(
        default=0.01, gt=0, le=0.5, description="Tolerance of the symmetry search in angstrom."
    )

    consistency_tolerance: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Largest relative difference of forces and stress from the energy's slope.",
    )

    max_energy_jump: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Largest jump of the energy as the lattice is stretched, as a fraction of its "
        "range within 4 % of the lattice constant.",
    )
    max_pressure_jump: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Largest jump of the pressure as the lattice is stretched, as a fraction of "
        "its range within 4 % of the lattice constant.",
    )

    eos_range: float = Field(
        default=0.12,
        ge=0.02,
        le=0.3,
        description="Relative volume range of the equation of state on either side of V0.",
    )
    eos_points: int = Field(
        default=13, ge=9, le=101, description="Volumes of the equation of state (made odd)."
    )
    eos_wide_compression: float = Field(
        default=0.25,
        ge=0,
        lt=0.9,
        description="Relative compression to which a scan at fixed ions looks for a deeper state.",
    )
    eos_wide_expansion: float = Field(
        default=0.30,
        ge=0,
        le=5,
        description="Relative expansion to which a scan at fixed ions looks for a deeper state.",
    )
    eos_max_roughness: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Largest noise or kink in E(V), as a fraction of its height over the range.",
    )
    eos_max_misfit: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Largest RMS residual of the Birch-Murnaghan fit, as a fraction of the height.",
    )
    eos_pressure_tolerance: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Largest difference of E(V) from minus the integral of the pressure, as a "
        "fraction of the height.",
    )
    min_bulk_modulus_GPa: float = Field(
        default=0.1, ge=0, description="Smallest sane bulk modulus in GPa."
    )
    max_bulk_modulus_GPa: float = Field(
        default=800.0, gt=0, description="Largest sane bulk modulus in GPa."
    )

    elastic_strain: float = Field(
        default=0.008,
        ge=1e-4,
        le=0.03,
        description="Largest strain of the finite differences (engineering strain for shear).",
    )
    elastic_max_nonlinearity: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Largest RMS residual of the stress-strain fits, as a fraction of the stress "
        "range.",
    )
    elastic_symmetry_tolerance: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Largest difference of the raw tensor from its symmetrised form, relative to "
        "the tensor's norm.",
    )
    min_eigenvalue_GPa: float = Field(
        default=0.0,
        ge=0,
        description="The lowest eigenvalue of the elastic tensor (Kelvin form) must exceed this "
        "many GPa.",
    )
    bulk_modulus_tolerance: float = Field(
        default=0.10,
        gt=0,
        lt=1,
        description="Largest relative difference of the bulk moduli from the elastic tensor and "
        "from the equation of state.",
    )

    phonon_min_edge_A: float = Field(
        default=12.0,
        gt=0,
        le=100,
        description="Smallest height of the phonon supercell in angstrom.",
    )
    phonon_max_atoms: int = Field(
        default=600,
        ge=1,
        le=100_000,
        description="Most atoms in the phonon supercell; it is made smaller where this is less.",
    )
    phonon_max_displacements: int = Field(
        default=400, ge=1, le=100_000, description="Most displaced supercells."
    )
    phonon_displacement_A: float = Field(
        default=0.01, gt=0, le=0.2, description="Finite displacement in angstrom."
    )
    phonon_mesh_length_A: float = Field(
        default=60.0,
        gt=0,
        le=500,
        description="Length in angstrom that sets the q-point mesh (points along b* = length "
        "times |b*|).",
    )
    phonon_tolerance_THz: float = Field(
        default=0.1,
        ge=0,
        le=5,
        description="Imaginary frequencies up to this size in THz are tolerated away from Gamma.",
    )
    phonon_gamma_tolerance_THz: float = Field(
        default=0.3,
        ge=0,
        le=5,
        description="Imaginary frequencies up to this size in THz are tolerated nearer to Gamma "
        "than half the shortest wave vector that fits the supercell, where all is interpolated.",
    )

    tier: Tier = Field(
        default="quick",
        description="Size of the cells and length of the runs of the gates for vacancies, "
        "surfaces, thermal expansion and MD: quick, for every cycle of a campaign, or thorough.",
    )
    defect_tolerance: float = Field(
        default=0.3,
        gt=0,
        description="Largest RMS error of the excess energy of labelled vacancies or slabs of the "
        "test set, relative to its RMS size.",
    )
    vacancy_max_to_cohesive: float = Field(
        default=1.5,
        gt=0,
        description="Largest formation energy of a vacancy, in units of the cohesive energy an "
        "atom.",
    )
    surface_max_J_per_m2: float = Field(
        default=15.0, gt=0, description="Largest sane surface energy in J/m^2."
    )
    max_grueneisen: float = Field(
        default=8.0,
        gt=0,
        description="Largest sane Grueneisen parameter, either sign (dimensionless).",
    )
    thermal_temperature_K: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Temperature in K of the thermal expansion; null: 300 K, or half the "
        "melting temperature by Lindemann's rule if that is lower.",
    )
    md_temperature_K: float | None = Field(
        default=None,
        gt=0,
        le=20_000,
        description="Temperature in K of the stability run; null: the melting temperature by "
        "Lindemann's rule.",
    )
    md_steps: int | None = Field(
        default=None,
        ge=100,
        le=100_000_000,
        description="MD steps at constant pressure, and again at constant energy; null: by the "
        "tier (200, or 10000).",
    )
    md_max_drift_meV_per_atom_ps: float = Field(
        default=1.0,
        gt=0,
        description="Largest drift of the total energy at constant energy in meV/atom/ps; or 2 % "
        "of the thermal energy in each ps, if that is more.",
    )
    md_max_fluctuation: float = Field(
        default=0.05,
        gt=0,
        description="Largest RMS fluctuation of the total energy at constant energy, relative to "
        "that of the kinetic energy.",
    )

    test_energy_rmse_eV_per_atom: float = Field(
        default=0.010, gt=0, le=10, description="Largest test error of the energy in eV/atom."
    )
    test_force_rmse_eV_per_A: float = Field(
        default=0.15,
        gt=0,
        le=100,
        description="Largest test error of a force component in eV/angstrom.",
    )
    test_stress_rmse_GPa: float | None = Field(
        default=None,
        gt=0,
        description="Largest test error of a stress component in GPa; null: reported only.",
    )
    test_energy_window_eV_per_atom: float = Field(
        default=1.0,
        gt=0,
        description="The thresholds apply to test structures within this energy in eV/atom above "
        "the lower hull of the test set; all are reported.",
    )
    test_min_structures: int = Field(
        default=1, ge=1, description="Fewest test structures on which the gate can pass."
    )

    reference: Mapping[str, float] = Field(
        default_factory=dict,
        description="Values the potential has to reproduce (by DFT, say), by the name of the "
        "number: B0_GPa, C11_GPa, V0_A3_per_atom ...; none by default.",
    )
    reference_tolerance: float = Field(
        default=0.15,
        gt=0,
        description="Largest relative difference from a value of `reference`.",
    )

    @property
    def effort(self) -> Effort:
        """Sizes and lengths of the costly gates in this tier."""
        return EFFORTS[self.tier]

    @field_validator("gates")
    @classmethod
    def _once(cls, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        if len(set(gates)) != len(gates):
            raise ValueError(f"a gate is named twice in {list(gates)}")
        return gates

    @field_validator("reference")
    @classmethod
    def _known(cls, reference: Mapping[str, float]) -> Mapping[str, float]:
        for key, value in reference.items():
            if key not in _REFERENCE_KEYS and not _SURFACE_KEY.fullmatch(key):
                close = difflib.get_close_matches(key, _REFERENCE_KEYS, n=1, cutoff=0.3)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise ValueError(f"no gate gives a number called {key!r}{hint}")
            if value == 0 or not math.isfinite(value):
                raise ValueError(f"{key} = {value:g}: a relative tolerance needs a finite value")
        return dict(reference)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.relax_accept_fmax_eV_per_A < self.relax_fmax_eV_per_A:
            raise ValueError("relax_accept_fmax_eV_per_A must not be below relax_fmax_eV_per_A")
        if self.max_bulk_modulus_GPa <= self.min_bulk_modulus_GPa:
            raise ValueError("max_bulk_modulus_GPa must be above min_bulk_modulus_GPa")
        gates = {_gate_of(key) for key in self.reference}
        if missing := gates - set(self.gates):
            raise ValueError(f"reference needs the gate {sorted(missing)[0]}, which is left out")
        return self


def _gate_of(key: str) -> str:
    if re.fullmatch(r"C\d\d_GPa", key) or "modulus" in key:
        return "elastic"
    if key.startswith("surface_energy"):
        return "surface"
    return _GATE_OF.get(key, "eos")


_GATE_OF = {
    "lowest_frequency_THz": "phonons",
    "highest_frequency_THz": "phonons",
    "vacancy_formation_energy_eV": "vacancy",
    "schottky_energy_eV": "vacancy",
    "thermal_expansion_per_K": "thermal_expansion",
    "grueneisen_parameter": "thermal_expansion",
}
