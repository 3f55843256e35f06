"""What a bus does, whichever it is.

Delivery is at least once. A topic is a log; each *group* of consumers reads all of it, each
message by one of the group's consumers. A message that is not acknowledged within `retry_s`
goes to whoever of the group reads next; after `max_deliveries`, or when a consumer rejects it,
it is a dead letter, which can be looked at and sent again. Any part of the log can be replayed
without a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from esper.oona.envelopes import Envelope

RETRY_S = 60.0
MAX_DELIVERIES = 5
KEPT = 100_000
"""How many messages of a topic are kept for replay; older ones go."""


class BusError(RuntimeError):
    """A bus that cannot be reached; nothing was sent or acknowledged."""


@dataclass(frozen=True)
class Delivery:
    """A message for a consumer. `position` is its place in the log, `count` from 1 on."""

    topic: str
    group: str
    position: str
    count: int
    envelope: Envelope


@dataclass(frozen=True)
class DeadLetter:
    """A message that nobody could work with: its text as it came, the group, the reason."""

    topic: str
    group: str
    position: str
    reason: str
    text: str


class Bus(Protocol):
    """A bus. Every method raises BusError where it cannot be reached."""

    def publish(self, topic: str, envelope: Envelope) -> str:
        """Append to the topic's log; returns the position."""
        ...

    def read(
        self, topic: str, group: str, consumer: str, *, count: int = 10, wait_s: float = 0.0
    ) -> list[Delivery]:
        """Return what the group has not seen, and what its consumers left behind.

        A new group begins at the start of the log. Waits at most `wait_s` for a message. What is
        no envelope never comes here: it becomes a dead letter.
        """
        ...

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that the message is dealt with."""
        ...

    def reject(self, delivery: Delivery, reason: str) -> None:
        """Make the message a dead letter of its group."""
        ...

    def dead_letters(self, topic: str) -> list[DeadLetter]:
        """Return the dead letters of a topic, oldest first."""
        ...

    def resend(self, letter: DeadLetter) -> str:
        """Append a dead letter to the log again, take it from the dead; returns the position."""
        ...

    def replay(self, topic: str, after: str = "") -> Iterator[tuple[str, Envelope]]:
        """Go through the log as it is now, behind a position; no group is touched."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
