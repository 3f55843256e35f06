"""What an oracle is asked to compute with, and the oracle made from it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pyacemaker.oracle.base import Oracle
from pyacemaker.oracle.dft_settings import GPAWSettings, VASPSettings
from pyacemaker.oracle.words import words

_MANIFOLD = re.compile(r"[A-Z][a-z]?-[1-7][spdf]")
Functional = Literal["PBE", "PBEsol", "LDA"]
Table = Literal["standard", "stringent"]


class EspressoSettings(BaseModel):
    """Labels by Quantum ESPRESSO's pw.x: one SCF with forces and stress per structure.

    A configuration takes the two cutoffs from the hints of the pseudopotential files
    (`config.oracle_choice`); `cutoff_gate.converge_cutoff` then makes sure of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    code: Literal["espresso"] = "espresso"
    command: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(words, json_schema_input_type=str | tuple[str, ...]),
            Field(min_length=1),
        ]
        | None
    ) = Field(
        default=None,
        description="Command line of your own pw.x, for example mpirun -np 4 pw.x; null: "
        "Quantum ESPRESSO 7.2 from the package index, in an environment of its own.",
    )
    functional: Functional = Field(
        default="PBE", description="Exchange-correlation functional: PBE, PBEsol or LDA."
    )
    pseudopotentials: str = Field(
        default="pseudodojo",
        min_length=1,
        description="pseudodojo (fetched and verified), or a folder of UPF files of your own, with "
        "an SSSP-style JSON of file names, md5 and cutoffs.",
    )
    table: Table = Field(
        default="standard", description="PseudoDojo's accuracy table: standard or stringent."
    )
    ecutwfc_Ry: float = Field(gt=0, le=1000, description="Cutoff of the wavefunctions in Ry.")
    ecutrho_Ry: float = Field(
        gt=0, le=16000, description="Cutoff of the density in Ry, at least 4 ecutwfc_Ry."
    )
    kspacing_per_A: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="Largest distance between k-points in 1/angstrom, 2 pi included (as VASP's "
        "KSPACING); the mesh is centred on Gamma and has one point along vacuum.",
    )
    smearing: Literal["mv", "gauss", "fd", "none"] = Field(
        default="mv",
        description="Smearing of the occupations: mv (Marzari-Vanderbilt), gauss, fd "
        "(Fermi-Dirac) or none (insulators with an even number of electrons).",
    )
    degauss_Ry: float = Field(
        default=0.01, gt=0, le=0.2, description="Width of the smearing in Ry."
    )
    nspin: Literal[1, 2] = Field(
        default=1, description="1: no spin polarisation; 2: collinear spins."
    )
    starting_magnetization: dict[str, Annotated[float, Field(ge=-1, le=1)]] = Field(
        default_factory=dict,
        description="With nspin 2, the starting magnetization of each element, from -1 to 1 (all "
        "valence electrons spin down to all up); elements that are not named start at 0.",
    )
    vdw: Literal["none", "d2", "d3", "d3bj", "ts", "mbd"] = Field(
        default="none",
        description="Dispersion correction: none, d2, d3 (zero damping), d3bj (Becke-Johnson "
        "damping), ts (Tkatchenko-Scheffler) or mbd (many-body dispersion).",
    )
    hubbard_U_eV: dict[str, Annotated[float, Field(ge=0, le=20)]] = Field(
        default_factory=dict,
        description="Hubbard U in eV by element and manifold, such as {Fe-3d: 4.0} (simplified "
        "rotationally invariant DFT+U, orthogonalised atomic projectors; pw.x 7.1 or later).",
    )
    conv_thr_Ry_per_atom: float = Field(
        default=1e-8,
        gt=0,
        le=1e-3,
        description="Estimated energy error in Ry per atom below which an SCF is converged.",
    )
    mixing_beta: float = Field(
        default=0.7, gt=0, le=1, description="Part of the new density in each SCF step, 0 to 1."
    )
    electron_maxstep: int = Field(
        default=80, ge=1, le=10_000, description="Most SCF steps of a first attempt."
    )
    max_attempts: int = Field(
        default=8, ge=1, le=20, description="Most attempts at one structure, remedies included."
    )
    timeout_s: float = Field(
        default=4 * 3600.0, gt=0, description="Seconds after which an attempt is stopped."
    )
    stall_s: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds without a word of output after which an attempt counts as stalled.",
    )
    threads: int = Field(
        default=1, ge=1, le=1024, description="Threads of the linear algebra in one label."
    )
    max_memory_GB: float | None = Field(
        default=None,
        gt=0,
        description="Most memory of one label in GB; null: nine tenths of the machine's.",
    )
    max_disk_GB: float = Field(
        default=20.0, gt=0, description="Most disk space of one label's scratch folder in GB."
    )
    keep_failed_GB: float = Field(
        default=1.0,
        ge=0,
        description="Most disk space of the scratch of structures that could not be labelled, in "
        "GB; the oldest is dropped.",
    )

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.ecutrho_Ry < 3.999 * self.ecutwfc_Ry:
            raise ValueError(
                f"ecutrho_Ry ({self.ecutrho_Ry:g}) must be at least 4 times ecutwfc_Ry "
                f"({self.ecutwfc_Ry:g}): the density holds products of two waves"
            )
        if bad := [name for name in self.hubbard_U_eV if not _MANIFOLD.fullmatch(name)]:
            raise ValueError(
                f"hubbard_U_eV: {bad[0]!r} names no manifold; write element and orbital, such as "
                "Fe-3d"
            )
        if self.nspin == 2 and self.smearing == "none":
            raise ValueError(
                "nspin 2 needs smeared occupations (smearing: mv, gauss or fd), so that the "
                "magnetic moment can find itself"
            )
        if self.starting_magnetization and self.nspin == 1:
            raise ValueError("starting_magnetization is only for nspin 2; set nspin: 2")
        if self.nspin == 2 and not any(self.starting_magnetization.values()):
            raise ValueError(
                "nspin 2 without a starting_magnetization other than 0 ends without spins; give "
                "one, for example {Fe: 0.4}"
            )
        return self


_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


class ASESettings(BaseModel):
    """Labels by any ASE calculator that gives energy, forces and stress."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    code: Literal["ase"] = "ase"
    calculator: str = Field(
        description="Dotted name of an ASE calculator class, such as ase.calculators.emt.EMT.",
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments of the calculator (plain values)."
    )

    @model_validator(mode="after")
    def _looks_like_a_name(self) -> Self:
        if not _DOTTED.fullmatch(self.calculator):
            raise ValueError(
                f"{self.calculator!r} is no dotted name of a class; give module and class, such as "
                "ase.calculators.emt.EMT"
            )
        return self


class RootstockSettings(BaseModel):
    """Labels by a model of a rootstock root: a foundation model, or a potential made here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    code: Literal["rootstock"] = "rootstock"
    model: str = Field(
        min_length=1, description="The model's name, as `rootstock list` shows it, such as chgnet."
    )
    root: str | None = Field(
        default=None,
        min_length=1,
        description="The rootstock root that holds it; null: the variable ROOTSTOCK_ROOT.",
    )
    device: str = Field(
        default="cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", description="Where the model runs."
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="CPU threads of the model's process, of which there is one for each of "
        "`workers`.",
    )


OracleSettings = EspressoSettings | ASESettings | GPAWSettings | VASPSettings | RootstockSettings


def make_oracle(settings: OracleSettings) -> Oracle:
    """Return the oracle of `settings`.

    Nothing is fetched or started yet: pseudopotentials and program are looked for when
    the first structure is given.
    """
    # Each is imported late: no cycle, and nobody waits for a code that is not asked for.
    if isinstance(settings, EspressoSettings):
        from pyacemaker.oracle.espresso.oracle import EspressoOracle

        return EspressoOracle(settings)
    if isinstance(settings, GPAWSettings):
        from pyacemaker.oracle.gpaw.oracle import GPAWOracle

        return GPAWOracle(settings)
    if isinstance(settings, VASPSettings):
        from pyacemaker.oracle.vasp.oracle import VASPOracle

        return VASPOracle(settings)
    if isinstance(settings, RootstockSettings):
        from pyacemaker.oracle.rootstock_oracle import RootstockOracle

        return RootstockOracle(settings)
    from pyacemaker.oracle.ase_oracle import ASEOracle

    return ASEOracle(settings)
