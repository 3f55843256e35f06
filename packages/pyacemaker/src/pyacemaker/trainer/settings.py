"""What a user may choose about a fit; every default adapts to the elements."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainerSettings(BaseModel):
    """How a potential is fitted. `None` means: chosen from the elements (see `trainer.basis`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backend: Literal["pacemaker", "ace-jax", "imported", "esper"] = Field(
        default="pacemaker",
        description="What fits. pacemaker: python-ace's basis and this program's own solver, or "
        "the `pacemaker` command (see `fit`). ace-jax: Bayesian linear ACE, its noise and prior by "
        "evidence, in an environment of its own. imported: nothing is fitted, the file named by "
        "`potential` is used as it is. esper: the same as `fit: esper`.",
    )
    potential: str | None = Field(
        default=None,
        description="A potential: .yaml, .yace or a potential directory. With backend imported, "
        "what is validated and run; with fit finnis-sinclair, what the first fit starts from.",
    )
    fit: Literal["linear", "finnis-sinclair", "esper"] = Field(
        default="linear",
        description="linear: one least-squares solve, seconds. finnis-sinclair: the non-linear "
        "fit by the pacemaker command, minutes. esper: networks on ACE descriptors that grow with "
        "the campaign (needs `pip install pyacemaker[esper]`).",
    )
    cutoff_A: float | None = Field(
        default=None, gt=1.0, le=15.0, description="Reach of the potential in angstrom."
    )
    far_cutoff_A: float | None = Field(
        default=None,
        gt=1.0,
        le=15.0,
        description="Reach of pair and three-body terms in angstrom, where these are to see "
        "further than the other terms (linear fit; see docs/training.md). None: the same reach.",
    )
    functions_per_element: int | None = Field(
        default=None, ge=10, le=2000, description="ACE basis functions for each element."
    )
    ladder: Literal["none", "body-order", "power-order"] = Field(
        default="none",
        description="Let the basis grow with the labels: of its parts up to a body order, or up to "
        "a sum of n and l, the one whose functions the evidence of the linear fit says are worth "
        "it. finnis-sinclair extends its parent by what is new. none: all functions.",
    )
    basis: Literal["full", "lean"] = Field(
        default="full",
        description="Highest n and l of the functions. lean: lower ones (at most 263 functions of "
        "one element), which halves the time of molecular dynamics at as many functions; silicon "
        "loses nothing by it, molybdenum a tenth to a quarter in forces.",
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
        default=200,
        ge=1,
        le=100_000,
        description="Optimiser steps of a finnis-sinclair fit.",
    )
    fs_energy_fraction: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="Share of the energies in the loss of a finnis-sinclair fit "
        "(pacemaker calls it 1 - kappa); the rest is the forces'.",
    )
    ace_jax_degree: int = Field(
        default=12,
        ge=2,
        le=40,
        description="Highest total degree (n + l over a term) of an ace-jax basis; the body order "
        "is `max_body_order`.",
    )
    esper_channels: int = Field(
        default=1,
        ge=0,
        le=4,
        description="Size of the descriptor an esper fit begins with: 0 (6 radial functions, 2 "
        "coupled) to 4 (14, 6); growth climbs from there.",
    )
    esper_width: int = Field(
        default=8,
        ge=1,
        le=512,
        description="Neurons in each hidden layer of a new esper fit.",
    )
    esper_activation: Literal["silu", "tanh"] = Field(
        default="silu", description="Activation of esper's networks; both are smooth."
    )
    esper_operator: Literal["random", "gradmax", "net2wider"] = Field(
        default="random", description="How esper chooses the weights of new neurons."
    )
    esper_epochs: int = Field(
        default=60, ge=1, le=100_000, description="Passes over the labels in an esper fit."
    )
    esper_learning_rate: float = Field(
        default=1e-2, gt=0.0, le=1.0, description="Highest step of Adam in an esper fit."
    )
    esper_label_noise_eV_per_A: float = Field(
        default=0.005,
        ge=0.0,
        description="Error of the labels' own forces (eV/angstrom), below which esper never grows.",
    )
    esper_max_functions: int = Field(
        default=400, ge=10, le=5000, description="Descriptor functions an esper potential may have."
    )
    esper_max_width: int = Field(
        default=64, ge=1, le=4096, description="Neurons in a hidden layer esper may grow to."
    )
    timeout_s: float = Field(
        default=4 * 3600.0, gt=0.0, description="Seconds after which an external fit is stopped."
    )

    @property
    def is_linear(self) -> bool:
        """Whether this program's own linear fit is asked for."""
        return (self.backend, self.fit) == ("pacemaker", "linear")

    @model_validator(mode="before")
    @classmethod
    def _esper_by_either_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "esper" in (data.get("backend"), data.get("fit")):
            return {**data, "backend": "esper", "fit": "esper"}
        return data

    @model_validator(mode="after")
    def _far_terms_are_linear(self) -> TrainerSettings:
        if self.far_cutoff_A is None:
            return self
        if not self.is_linear:
            raise ValueError("far_cutoff_A needs backend pacemaker and fit linear")
        if self.cutoff_A is not None and self.far_cutoff_A <= self.cutoff_A:
            raise ValueError(
                f"far_cutoff_A ({self.far_cutoff_A}) must be longer than cutoff_A ({self.cutoff_A})"
            )
        return self

    @model_validator(mode="after")
    def _imported_needs_a_file(self) -> TrainerSettings:
        if self.backend == "imported" and self.potential is None:
            raise ValueError(
                "backend imported needs `potential`: the path of a .yaml, a .yace or a potential "
                "directory"
            )
        return self
