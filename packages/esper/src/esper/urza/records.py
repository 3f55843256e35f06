"""What the library gives out: plain values, the same in Python, over HTTP and in --json."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from esper.tezzeret.checks import Check
from esper.tezzeret.forge import Target
from esper.tezzeret.ir import Blueprint
from esper.tezzeret.measure import Cost


def _utc(value: datetime) -> datetime:  # SQLite gives times back without their zone
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


MOST = 2**31 - 1
"""Of an INTEGER column."""
_Time = Annotated[datetime, AfterValidator(_utc)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class BlueprintRecord(_Record):
    """A blueprint in the library."""

    id: str
    name: str
    parent: str | None
    created: _Time
    ir: Blueprint


class Artifact(_Record):
    """A file of a kernel; `size` in bytes."""

    name: str
    sha256: str
    size: int


class KernelRecord(_Record):
    """A kernel in the library; `status` is `ready` or `failed` (then `checks` say why)."""

    id: str
    blueprint: str
    status: Literal["ready", "failed"]
    target: Target
    pipeline: str
    torch: str
    isa: str
    checks: list[Check]
    cost: Cost | None
    created: _Time
    artifacts: list[Artifact] = []


class KernelQuery(BaseModel):
    """What a kernel should be like; what is left out does not matter.

    `sort` by latency (us), parameters or age; latency is comparable on one ISA only. `offset`
    passes over as many, for the next page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    blueprint: str | None = None
    status: Literal["ready", "failed"] | None = "ready"
    features: Annotated[int | None, Field(ge=1, le=MOST)] = None
    width: Annotated[int | None, Field(ge=1, le=MOST)] = None
    spatial: Annotated[int | None, Field(ge=0, le=2)] = None
    torch: str | None = None
    isa: str | None = None
    max_parameters: Annotated[int | None, Field(ge=0, le=MOST)] = None
    max_forward_us: Annotated[float | None, Field(gt=0)] = None
    sort: Literal["latency", "parameters", "newest"] = "latency"
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0, le=MOST)] = 0


class GraftRecord(_Record):
    """A branch that became part of a network; `contribution` in nats per sample."""

    id: str
    kernel: str
    run: str
    site: str
    weights: str
    contribution: float | None
    parent: str | None
    created: _Time


class Lineage(_Record):
    """Where something comes from, and what came of it."""

    blueprints: list[BlueprintRecord]
    kernels: list[KernelRecord]
    grafts: list[GraftRecord]


class Job(_Record):
    """A kernel that is to be made."""

    id: int
    kernel: str
    blueprint: str
    target: Target
    state: Literal["queued", "claimed", "done", "failed"]
    worker: str | None
    attempts: int
    error: str | None
