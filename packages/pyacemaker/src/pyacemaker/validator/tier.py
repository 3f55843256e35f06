"""How much the costly gates do: quick in every cycle of a campaign, thorough for a publication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tier = Literal["quick", "thorough"]


@dataclass(frozen=True)
class Effort:
    """Sizes of the cells and lengths of the runs of one tier.

    `defect_edge_A` and `defect_atoms` bound the supercell a vacancy is in, `slab_A` and
    `slab_atoms` the slabs, `thermal_edge_A` the cells of the quasi-harmonic phonons,
    `md_edge_A` and `md_atoms` the cell of molecular dynamics, `md_steps` the steps at
    constant pressure and again at constant energy.
    """

    defect_edge_A: float
    defect_atoms: int
    slab_A: float
    slab_atoms: int
    thermal_edge_A: float
    md_edge_A: float
    md_atoms: int
    md_steps: int


EFFORTS: dict[Tier, Effort] = {
    "quick": Effort(
        defect_edge_A=7.0,
        defect_atoms=64,
        slab_A=12.0,
        slab_atoms=64,
        thermal_edge_A=7.0,
        md_edge_A=7.0,
        md_atoms=64,
        md_steps=200,
    ),
    "thorough": Effort(
        defect_edge_A=14.0,
        defect_atoms=300,
        slab_A=18.0,
        slab_atoms=200,
        thermal_edge_A=12.0,
        md_edge_A=12.0,
        md_atoms=256,
        md_steps=10_000,
    ),
}
