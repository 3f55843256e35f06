"""Settings of the DFT codes beside Quantum ESPRESSO: GPAW and VASP."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pyacemaker.oracle.words import words

Command = Annotated[tuple[str, ...], BeforeValidator(words), Field(min_length=1)]


class _PlaneWaves(BaseModel):
    """What both codes are told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    functional: Literal["PBE", "PBEsol", "LDA"] = Field(
        default="PBE", description="Exchange-correlation functional: PBE, PBEsol or LDA."
    )
    ecut_eV: float = Field(
        default=520.0, gt=0, le=5000, description="Cutoff of the plane waves in eV."
    )
    kspacing_per_A: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="Largest distance between k-points in 1/angstrom, 2 pi included; the mesh is "
        "centred on Gamma and has one point along vacuum.",
    )
    smearing_eV: float = Field(
        default=0.1, gt=0, le=2, description="Width of the smearing of the occupations in eV."
    )
    nspin: Literal[1, 2] = Field(
        default=1, description="1: no spin polarisation; 2: collinear spins."
    )
    moments_muB: dict[str, Annotated[float, Field(ge=-10, le=10)]] = Field(
        default_factory=dict,
        description="With nspin 2, the moment each element's atoms start from, in Bohr magnetons.",
    )
    energy_eV_per_atom: float = Field(
        default=1e-7, gt=0, le=1e-2, description="Convergence of the SCF's energy in eV/atom."
    )
    electron_maxstep: int = Field(
        default=120, ge=1, le=10_000, description="Most SCF steps of a first attempt."
    )
    timeout_s: float = Field(
        default=4 * 3600.0, gt=0, description="Seconds after which an attempt is stopped."
    )
    threads: int = Field(
        default=1, ge=1, le=1024, description="Threads of the linear algebra in one label."
    )

    @model_validator(mode="after")
    def _spins(self) -> Self:
        if self.moments_muB and self.nspin == 1:
            raise ValueError("moments_muB is only for nspin 2; set nspin: 2")
        if self.nspin == 2 and not any(self.moments_muB.values()):
            raise ValueError(
                "nspin 2 without moments_muB other than 0 ends without spins; give some, for "
                "example {Fe: 3}"
            )
        return self


class GPAWSettings(_PlaneWaves):
    """Labels by GPAW in plane waves, as a program of its own (Debian: gpaw, gpaw-data).

    Occupations are Fermi-Dirac's; the energy is the free energy, consistent with the forces.
    """

    code: Literal["gpaw"] = "gpaw"
    command: Command | None = Field(
        default=None,
        description="A Python that has GPAW, with arguments; null: /usr/bin/python3.",
    )


class VASPSettings(_PlaneWaves):
    """Labels by VASP: a static run as pymatgen's MPStaticSet makes it, with these settings."""

    code: Literal["vasp"] = "vasp"
    command: Command = Field(
        default=("vasp_std",), description="Command line of VASP: mpirun -np 8 vasp_std."
    )
    potcar_folder: str = Field(
        min_length=1,
        description="Your licensed POTCAR files: one folder for each potential, as VASP ships "
        "them (Si/POTCAR, Ti_pv/POTCAR).",
    )
    potcars: dict[str, str] = Field(
        default_factory=dict,
        description="Name of each element's potential, such as {Ti: Ti_pv}; elements that are not "
        "named have those of the Materials Project.",
    )
    occupations: Literal["gaussian", "methfessel-paxton"] = Field(
        default="gaussian", description="Kind of smearing: gaussian or methfessel-paxton."
    )
    max_attempts: int = Field(
        default=4, ge=1, le=20, description="Most attempts at one structure, remedies included."
    )
