"""What travels on the bus. A message is one of a fixed set of kinds, told apart by `kind`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class EnvelopeError(ValueError):
    """A message that is none of ours."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class RunStarted(_Message):
    """A training has begun, or goes on at `epoch`."""

    kind: Literal["run_started"] = "run_started"
    run: str
    epoch: int
    epochs: int


class EpochFinished(_Message):
    """The figures of an epoch; losses in nats per sample, accuracy from 0 to 1.

    `sites`: the mean of the telemetry of each (see `kasmina.telemetry`).
    """

    kind: Literal["epoch_finished"] = "epoch_finished"
    run: str
    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    parameters: int
    flops: int
    sites: dict[str, dict[str, float]] = {}


class GrowthHappened(_Message):
    """A seed went on, a layer grew, training was rolled back; `what` as in the history."""

    kind: Literal["growth_happened"] = "growth_happened"
    run: str
    epoch: int
    step: int
    event: str
    what: dict[str, Any] = {}


class RunFinished(_Message):
    """A training is done; `result` as in history.json."""

    kind: Literal["run_finished"] = "run_finished"
    run: str
    result: dict[str, Any]


class BlueprintAdded(_Message):
    """The library has a new blueprint."""

    kind: Literal["blueprint_added"] = "blueprint_added"
    blueprint: str
    name: str


class KernelForged(_Message):
    """A kernel was made: `ready`, or `failed` with the checks that it failed."""

    kind: Literal["kernel_forged"] = "kernel_forged"
    kernel: str
    blueprint: str
    status: Literal["ready", "failed"]
    failed: tuple[str, ...] = ()


Message = Annotated[
    RunStarted | EpochFinished | GrowthHappened | RunFinished | BlueprintAdded | KernelForged,
    Field(discriminator="kind"),
]


class Envelope(BaseModel):
    """A message with its id, its time (UTC) and its sender.

    The id is the sender's: a message that is sent again, because nobody knows whether it
    arrived, has the id it had, and a reader that keeps ids sees it once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    version: Literal[1] = 1
    id: Annotated[str, Field(min_length=1, max_length=200)]
    source: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    message: Message


_ADAPTER: TypeAdapter[Envelope] = TypeAdapter(Envelope)


def to_json(envelope: Envelope) -> str:
    """Return the text that travels."""
    return envelope.model_dump_json()


def from_json(text: str | bytes) -> Envelope:
    """Read what arrived. Raises EnvelopeError with the first problem."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise EnvelopeError(f"not an envelope: key '{key}': {first['msg']}") from None
