"""What a campaign runs with: every number decided, nothing left to guess.

`resolve` makes these from a user's `Config`; the orchestrator and the parts read them.
All are frozen, and `CampaignSettings.to_json` writes them whole.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.oracle.settings import OracleSettings
from pyacemaker.provenance import KEY as PROVENANCE_KEY
from pyacemaker.provenance import provenance_of
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.settings import ValidationSettings

Vector = tuple[float, float, float]


class Settings(BaseModel):
    """Base of the settings decided here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StructureSettings(Settings):
    """The material's reference cell.

    `kind` is `file` (the user's), `prototype` (a lattice or formula the user named) or
    `reference` (the ground state expected of the elements).
    """

    kind: Literal["file", "prototype", "reference"]
    name: str = Field(description="The file, prototype or crystal it came from.")
    symbols: tuple[str, ...] = Field(min_length=1, description="Chemical symbol of each atom.")
    cell_A: tuple[Vector, Vector, Vector] = Field(
        description="Lattice vectors, one a row, in angstrom."
    )
    positions_A: tuple[Vector, ...] = Field(
        description="Cartesian positions, one a row, in angstrom."
    )
    provenance: dict[str, Any] = Field(description="Where it came from, as structures carry it.")

    @classmethod
    def of(cls, atoms: Atoms, kind: Literal["file", "prototype", "reference"], name: str) -> Self:
        """Keep symbols, lattice, positions and provenance of a periodic, tagged structure."""
        return cls.model_validate(
            {
                "kind": kind,
                "name": name,
                "symbols": tuple(atoms.get_chemical_symbols()),
                "cell_A": np.asarray(atoms.cell, float).tolist(),
                "positions_A": atoms.get_positions().tolist(),
                "provenance": provenance_of(atoms),
            }
        )

    def atoms(self) -> Atoms:
        """Return the periodic cell as tagged ASE Atoms."""
        found = Atoms(self.symbols, positions=self.positions_A, cell=self.cell_A, pbc=True)
        found.info[PROVENANCE_KEY] = dict(self.provenance)
        return found


class GeneratorSettings(Settings):
    """What makes candidates besides displacements, defects and prototypes."""

    foundation: tuple[str, ...] = Field(
        default=(),
        max_length=2,
        description="Models of a rootstock root, such as chgnet, whose short trajectories give "
        "candidates to the cold start. With two, frames on whose forces they disagree most.",
    )
    root: str | None = Field(
        default=None,
        min_length=1,
        description="The rootstock root that holds the models; null: the variable ROOTSTOCK_ROOT.",
    )
    device: str = Field(
        default="cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", description="Where the models run."
    )
    foundation_md_ps: float = Field(
        default=1.0, gt=0, le=1000, description="Length of each of their trajectories in ps."
    )
    foundation_frames: int = Field(
        default=8, ge=1, le=1000, description="Frames taken of each trajectory."
    )


class SelectionSettings(Settings):
    """How many of the proposed structures get a label, and how large they may be."""

    initial_labels: int = Field(
        ge=2, le=100_000, description="Labels of the cold start, before the first fit."
    )
    labels_per_iteration: int = Field(
        ge=1, le=100_000, description="Most labels chosen in any later iteration."
    )
    max_atoms: int = Field(
        ge=1, le=1000, description="Most atoms in a generated cell: what one label costs."
    )
    selection: Literal["maxvol", "committee", "random"] = Field(
        default="maxvol",
        description="How structures are chosen: maxvol (D-optimal); committee (where the forces "
        "of fits to parts of the labels differ most) or random, to compare with.",
    )
    least_gain: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="A batch ends at the structure that gains less than this share of what the "
        "best one does to the logarithm of the determinant (maxvol); 0: it is always filled.",
    )


class DynamicsSettings(Settings):
    """Molecular dynamics under the watchdog on the extrapolation grade gamma."""

    explorers: tuple[Literal["md", "kmc"], ...] = Field(
        default=("md",),
        min_length=1,
        max_length=2,
        description="What explores with a potential that passed validation: md (molecular "
        "dynamics), kmc (adaptive kinetic Monte Carlo, section kmc), or both.",
    )
    temperatures_K: tuple[float, ...] = Field(
        min_length=1, description="Temperatures of the runs in K, ascending."
    )
    engine: Literal["auto", "lammps", "ase"] = Field(
        default="auto",
        description="auto: LAMMPS where it can be had with ML-PACE, otherwise ASE (slower).",
    )
    lammps_command: str | None = Field(
        default=None, description="An lmp with ML-PACE of your own, with its arguments."
    )
    md_ps: float = Field(gt=0, le=1e6, description="Length of MD at each temperature in ps.")
    timestep_fs: float = Field(gt=0, le=10, description="Time step in fs.")
    check_every: int = Field(ge=1, le=10_000, description="MD steps between two looks at gamma.")
    pressure_GPa: float | None = Field(
        default=0.0,
        ge=-100,
        le=1000,
        description="Pressure of NPT runs in GPa; null for a fixed cell (NVT).",
    )
    atoms: int = Field(ge=1, le=100_000, description="Smallest number of atoms of the MD cell.")
    gamma_select: float = Field(
        ge=1, le=1000, description="Extrapolation grade above which a structure is worth a label."
    )
    gamma_halt: float = Field(
        gt=1, le=10_000, description="Extrapolation grade above which MD is halted."
    )
    gamma_from: Literal["calibration", "settings"] = Field(
        default="calibration",
        description="calibration: both thresholds follow, cycle by cycle, from gamma against the "
        "force error on held-out labels; settings: they stay as they are given.",
    )
    explore: Literal["adaptive", "goal"] = Field(
        default="adaptive",
        description="adaptive: while labels last, the policy explores beyond the stated "
        "temperatures (swaps, compositions, ramps, pressure, strain, defects); goal: only these.",
    )
    timeout_s: float | None = Field(
        default=None, gt=0, description="Seconds after which one MD run is stopped; null: never."
    )

    @property
    def steps(self) -> int:
        """MD steps at each temperature."""
        return max(1, round(self.md_ps * 1000 / self.timestep_fs))

    @model_validator(mode="after")
    def _halt_above_select(self) -> Self:
        if self.gamma_halt <= self.gamma_select:
            raise ValueError(
                f"gamma_halt ({self.gamma_halt:g}) must be greater than gamma_select "
                f"({self.gamma_select:g})"
            )
        return self


class WalkStart(Settings):
    """The structure a walk by kinetic Monte Carlo begins with: a slab, a defect, a cluster."""

    name: str = Field(description="The file it came from.")
    symbols: tuple[str, ...] = Field(min_length=2, description="Chemical symbol of each atom.")
    cell_A: tuple[Vector, Vector, Vector] = Field(description="Lattice vectors in angstrom.")
    positions_A: tuple[Vector, ...] = Field(description="Cartesian positions in angstrom.")
    periodic: tuple[bool, bool, bool] = Field(description="Which directions are periodic.")
    held: tuple[int, ...] = Field(description="Indices of the atoms that do not move.")

    @classmethod
    def of(cls, atoms: Atoms, name: str) -> Self:
        """Keep a structure with its cell and the atoms that FixAtoms holds."""
        from pyacemaker.dynamics.kmc.geometry import fixed_atoms

        return cls(
            name=name,
            symbols=tuple(atoms.get_chemical_symbols()),
            cell_A=np.asarray(atoms.cell, float).tolist(),
            positions_A=atoms.get_positions().tolist(),
            periodic=tuple(bool(p) for p in atoms.pbc),
            held=tuple(fixed_atoms(atoms).tolist()),
        )

    def atoms(self) -> Atoms:
        """Return it as ASE Atoms, with its constraint."""
        found = Atoms(self.symbols, self.positions_A, cell=self.cell_A, pbc=self.periodic)
        if self.held:
            from ase.constraints import FixAtoms

            found.set_constraint(FixAtoms(indices=list(self.held)))
        return found


class ConvergenceSettings(Settings):
    """When the campaign is done: all of it must hold.

    The errors are those of the test gate (`validation`), the length that of `dynamics`.
    """

    energy_rmse_eV_per_atom: float = Field(
        gt=0, le=10, description="Largest test error of the energy in eV/atom."
    )
    force_rmse_eV_per_A: float = Field(
        gt=0, le=100, description="Largest test error of a force component in eV/angstrom."
    )
    md_ps: float = Field(
        gt=0, le=1e6, description="Length of MD without a halt at each temperature in ps."
    )
    test_frames_per_temperature: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Independent trajectories at each temperature whose ends are labelled as a "
        "last test.",
    )


class BudgetSettings(Settings):
    """What the campaign may spend; it ends with the first that is used up."""

    labels: int = Field(ge=1, le=10_000_000, description="Labels.")
    hours: float | None = Field(
        default=None, gt=0, le=1e6, description="Hours of wall time over all runs; null: no limit."
    )
    max_iterations: int | None = Field(
        default=None, ge=1, le=100_000, description="Iterations; null: no limit."
    )


# What may differ between two runs of one campaign: the machine, and how long to go on.
_NOT_SCIENCE: dict[str, Any] = {
    "workers": True,
    "execution": True,
    "budget": True,
    "oracle": {
        "command",
        "timeout_s",
        "stall_s",
        "threads",
        "max_attempts",
        "max_memory_GB",
        "max_disk_GB",
        "keep_failed_GB",
        "root",
        "device",
    },
    "trainer": {"timeout_s"},
    "generator": {"root", "device"},
    "dynamics": {"engine", "lammps_command", "timeout_s"},
    "kmc": {"eon"},
}


class CampaignSettings(Settings):
    """Everything a campaign runs with."""

    elements: tuple[str, ...] = Field(min_length=1, description="Chemical symbols.")
    structure: StructureSettings
    compositions: tuple[str, ...] = Field(
        default=(), description="Formulas of the compounds whose crystals are put to the oracle."
    )
    oracle: OracleSettings = Field(discriminator="code")
    imported: tuple[str, ...] = Field(
        default=(), description="Imported data sets to learn from as well."
    )
    trainer: TrainerSettings
    generator: GeneratorSettings = GeneratorSettings()
    selection: SelectionSettings
    dynamics: DynamicsSettings
    kmc: KMCSettings | None = Field(default=None, description="Where kmc is an explorer.")
    kmc_start: WalkStart | None = Field(
        default=None, description="What the walk begins with; null: a crystal with a vacancy."
    )
    validation: ValidationSettings
    convergence: ConvergenceSettings
    budget: BudgetSettings
    seed: int = Field(ge=0, lt=2**32, description="Seed of the one random generator.")
    workers: int = Field(ge=1, le=100_000, description="Labels computed at the same time.")
    execution: ExecutionSettings = ExecutionSettings()

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces, shortest floats."""
        return _canonical(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises pydantic.ValidationError."""
        return cls.model_validate_json(text)

    def digest(self) -> str:
        """Return the SHA-256 of all settings (the order of the elements does not count)."""
        return _sha256(self.model_dump(mode="json"))

    def science_digest(self) -> str:
        """Return the SHA-256 of what determines the result, for a campaign that is resumed.

        Left out: workers and budget, commands, engines, threads and time limits, which a
        later run of the same campaign may change.
        """
        return _sha256(self.model_dump(mode="json", exclude=_NOT_SCIENCE))


def _canonical(data: dict[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sha256(data: dict[str, Any]) -> str:
    ordered = {**data, "elements": sorted(data["elements"])}
    return hashlib.sha256(_canonical(ordered).encode()).hexdigest()
