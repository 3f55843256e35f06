"""What a walk by adaptive kinetic Monte Carlo is decided by."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class KMCSettings(BaseModel):
    """How processes are searched, when a state counts as known, and how far the walk goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    engine: Literal["builtin", "eon"] = Field(
        default="builtin",
        description="builtin: on ASE's dimer. eon: EON's eon-server and eonclient, your own or "
        "those that `pyacemaker build-eon` built.",
    )
    eon: str | None = Field(
        default=None,
        min_length=1,
        description="Folder that holds eon-server and eonclient; null: they are on the PATH, or "
        "built by `pyacemaker build-eon`.",
    )
    temperature_K: float = Field(gt=0, le=20_000, description="Temperature of the walk in K.")
    events: int = Field(default=20, ge=1, le=10_000_000, description="Hops of the walk.")
    confidence: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="A state's processes count as known at this confidence, 1 - 1/N, where N "
        "searches in a row found nothing new (Xu and Henkelman 2008).",
    )
    max_searches: int = Field(
        default=100, ge=1, le=1_000_000, description="Most saddle searches from one state."
    )
    window_kT: float = Field(
        default=20.0,
        gt=0,
        le=1000,
        description="Processes whose barrier lies more than this many kT above the lowest "
        "do not count for the confidence.",
    )
    max_barrier_eV: float = Field(
        default=2.0, gt=0, le=100, description="Barriers above this are left out, in eV."
    )
    displacement_A: float = Field(
        default=0.2,
        gt=0,
        le=2,
        description="Standard deviation of the displacements a search starts from, in angstrom.",
    )
    radius_A: float = Field(
        default=3.5,
        gt=0,
        le=50,
        description="Atoms within this of the chosen one are displaced with it, in angstrom.",
    )
    fmax_eV_per_A: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Largest force left at minima and saddle points, in eV/angstrom.",
    )
    max_steps: int = Field(
        default=500, ge=1, le=1_000_000, description="Most steps of one climb or relaxation."
    )
    same_A: float = Field(
        default=0.3,
        gt=0,
        le=2,
        description="Structures in which no atom lies farther apart than this are one, in "
        "angstrom.",
    )
    prefactor_THz: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="A fixed prefactor in THz; null: harmonic transition-state theory (Vineyard), "
        "from the vibrations at minimum and saddle.",
    )
    gamma_halt: float | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="In a campaign: extrapolation grade above which a search halts the walk; null: "
        "gamma_select, above which a structure is worth a label.",
    )
    barriers_checked: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="In a campaign: most processes of a walk that completed whose barriers are "
        "compared with the oracle's, two labels each.",
    )
    barrier_error_eV: float = Field(
        default=0.03,
        gt=0,
        le=10,
        description="In a campaign: largest error of a barrier in eV; beyond, the process is "
        "learnt from and the walk made again.",
    )

    @model_validator(mode="after")
    def _a_folder_of_eon_is_for_eon(self) -> Self:
        if self.eon is not None and self.engine != "eon":
            raise ValueError(
                "`eon` names EON's folder, but the engine is built in: add engine: eon"
            )
        return self
