"""Where labels and trajectories are computed. Never part of the science: no key changes by it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# From the start of a job to its first label, and from the last result to its end.
MARGIN_S = 20.0


def _lines(value: object) -> object:
    """Take one line for the list of one that it means."""
    if isinstance(value, str):
        return tuple(line for line in value.splitlines() if line.strip())
    return tuple(value) if isinstance(value, list) else value


Lines = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_lines, json_schema_input_type=str | tuple[str, ...]),
]


class ExecutionSettings(BaseModel):
    """The local machine, or blocks of a SLURM cluster: jobs that hold nodes and take labels.

    A block is one job of SLURM (a pilot job). Labels are handed to whatever blocks run, so that
    a label never waits in the queue by itself, and a block that ends, whatever the reason, loses
    nothing but the labels it was at, which others take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["local", "slurm"] = Field(
        default="local",
        description="local: this machine (see workers); slurm: jobs of a SLURM cluster. "
        "`execution: slurm` alone means kind: slurm.",
    )
    partition: str | None = Field(
        default=None, min_length=1, description="Partition; null: the cluster's default."
    )
    account: str | None = Field(
        default=None, min_length=1, description="Account that is charged; null: the user's default."
    )
    qos: str | None = Field(default=None, min_length=1, description="Quality of service.")
    constraint: str | None = Field(
        default=None, min_length=1, description="Features of nodes, as for sbatch --constraint."
    )
    walltime_min: int = Field(
        default=60, ge=1, le=100_000, description="Time limit of a block in minutes."
    )
    longest_label_min: float | None = Field(
        default=None,
        gt=0,
        description="Minutes that a label or a trajectory may take: none begins in a block with "
        "less time left. null: half of walltime_min.",
    )
    blocks: int = Field(default=1, ge=1, le=10_000, description="Most blocks at the same time.")
    nodes_per_block: int = Field(default=1, ge=1, le=1000, description="Nodes of one block.")
    cores_per_node: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Cores asked for on each node; null: whole nodes (--exclusive).",
    )
    memory_GB_per_node: int | None = Field(
        default=None, ge=1, le=100_000, description="Memory asked for on each node in GB."
    )
    gres: str | None = Field(
        default=None, min_length=1, description="Generic resources of a block, such as gpu:1."
    )
    labels_per_node: int = Field(
        default=1, ge=1, le=4096, description="Labels computed at the same time on each node."
    )
    idle_min: float = Field(
        default=10.0,
        ge=0,
        le=10_000,
        description="Minutes that blocks without work are kept (while the potential is fitted, "
        "say) before their nodes are given back.",
    )
    setup: Lines = Field(
        default=(),
        description="Lines of shell that prepare a node: module load ..., source "
        ".../activate, export ...",
    )
    options: Lines = Field(
        default=(), description="Further options of sbatch, such as --mail-type=END."
    )
    address: str | None = Field(
        default=None,
        min_length=1,
        description="Address at which compute nodes reach this machine; null: all of its "
        "addresses are tried.",
    )
    slurm_conf: str | None = Field(
        default=None,
        min_length=1,
        description="slurm.conf of the cluster; null: the variable SLURM_CONF, or SLURM's own.",
    )

    @model_validator(mode="after")
    def _time_for_a_label(self) -> Self:
        if self.label_window_s < 1:
            raise ValueError(
                f"longest_label_min ({self.longest_label_s / 60:g}) leaves no time to begin a "
                f"label in a block of walltime_min ({self.walltime_min:d}); starting takes "
                f"{MARGIN_S:.0f} s too"
            )
        return self

    @property
    def longest_label_s(self) -> float:
        """Seconds that a label may take."""
        minutes = self.longest_label_min
        return 60.0 * (self.walltime_min / 2 if minutes is None else minutes)

    @property
    def label_window_s(self) -> float:
        """Seconds after its start in which a block takes labels."""
        return 60.0 * self.walltime_min - self.longest_label_s - MARGIN_S

    @property
    def labels_at_once(self) -> int:
        """Most labels computed at the same time, all blocks together."""
        return self.blocks * self.nodes_per_block * self.labels_per_node
