"""What a user may choose about a fit; every default adapts to the elements."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainerSettings(BaseModel):
    """How a potential is fitted. `None` means: chosen from the elements (see `trainer.basis`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fit: Literal["linear", "finnis-sinclair"] = Field(
        default="linear",
        description="linear: one least-squares solve, seconds. finnis-sinclair: the non-linear "
        "fit by the pacemaker command, minutes.",
    )
    cutoff_A: float | None = Field(
        default=None, gt=1.0, le=15.0, description="Reach of the potential in angstrom."
    )
    functions_per_element: int | None = Field(
        default=None, ge=10, le=2000, description="ACE basis functions for each element."
    )
    max_body_order: int = Field(
        default=5, ge=2, le=6, description="Highest number of atoms in one term, the centre too."
    )
    baseline: Literal["zbl", "none"] = Field(
        default="zbl",
        description="Pair repulsion subtracted before the fit and added back in every run.",
    )
    energy_weight: Literal["auto"] | Annotated[float, Field(ge=0.0)] = Field(
        default=100.0,
        description="Weight of an energy residual, per eV/atom; auto (linear fit): chosen as "
        "`choose_by` says.",
    )
    force_weight: float = Field(
        default=1.0, ge=0.0, description="Weight of a force component's residual, per eV/angstrom."
    )
    stress_weight: float = Field(
        default=1.0, ge=0.0, description="Weight of a stress component's residual, per GPa."
    )
    soft_energy_eV: float = Field(
        default=1.0,
        gt=0.0,
        description="Energy per atom (eV) above the convex hull of the labels at which a "
        "structure's weight is halved: dimers and short pairs count less.",
    )
    soft_force_eV_per_A: float = Field(
        default=10.0,
        gt=0.0,
        description="Force on an atom (eV/angstrom) at which its force rows' weight is halved.",
    )
    ridge: Literal["auto"] | Annotated[float, Field(ge=0.0)] = Field(
        default="auto",
        description="Strength of the ridge, relative to the mean square of the design matrix's "
        "scaled columns; auto: chosen as `choose_by` says.",
    )
    smoothness: Literal["auto"] | Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        default="auto",
        description="Power of n + l with which the expected size of a function's contribution "
        "falls; auto: chosen as `choose_by` says.",
    )
    choose_by: Literal["cross-validation", "evidence"] = Field(
        default="cross-validation",
        description="What chooses ridge, smoothness and energy weight of a linear fit where they "
        "are auto. cross-validation: the errors on groups of the training set that are left out. "
        "evidence: the probability of the labels under the model, which needs no groups and a "
        "fifth of the time (the energy weight is left to cross-validation).",
    )
    fs_iterations: int = Field(
        default=200, ge=1, le=100_000, description="Optimiser steps of a finnis-sinclair fit."
    )
    fs_energy_fraction: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="Share of the energies in the loss of a finnis-sinclair fit "
        "(pacemaker calls it 1 - kappa); the rest is the forces'.",
    )
    timeout_s: float = Field(
        default=4 * 3600.0, gt=0.0, description="Seconds after which an external fit is stopped."
    )
