"""The bus inside one process: nothing to start, nothing left behind when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from esper.oona.base import KEPT, MAX_DELIVERIES, RETRY_S, DeadLetter, Delivery
from esper.oona.envelopes import Envelope, EnvelopeError, from_json, to_json


@dataclass
class _Pending:
    consumer: str
    since: float
    count: int


@dataclass
class _Group:
    next: int = 0
    pending: dict[int, _Pending] = field(default_factory=dict)


@dataclass
class _Topic:
    first: int = 0  # the number of the oldest message kept
    log: list[str] = field(default_factory=list)
    groups: dict[str, _Group] = field(default_factory=dict)
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    buried: int = 0


class MemoryBus:
    """Topics in memory, safe for threads. Messages are kept as text, as they would travel."""

    def __init__(
        self,
        *,
        retry_s: float = RETRY_S,
        max_deliveries: int = MAX_DELIVERIES,
        kept: int = KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.retry_s = retry_s
        self.max_deliveries = max_deliveries
        self.kept = kept
        self.clock = clock
        self._topics: dict[str, _Topic] = {}
        self._changed = threading.Condition()

    def publish(self, topic: str, envelope: Envelope) -> str:
        """Append to the topic's log."""
        return self.publish_text(topic, to_json(envelope))

    def publish_text(self, topic: str, text: str) -> str:
        """Append a text as it is."""
        with self._changed:
            place = self._topics.setdefault(topic, _Topic())
            place.log.append(text)
            if len(place.log) > self.kept:
                place.first += len(place.log) - self.kept
                del place.log[: len(place.log) - self.kept]
            self._changed.notify_all()
            return _position(place.first + len(place.log) - 1)

    def read(
        self, topic: str, group: str, consumer: str, *, count: int = 10, wait_s: float = 0.0
    ) -> list[Delivery]:
        """Return what the group has not seen, and what its consumers left behind."""
        until = time.monotonic() + wait_s
        with self._changed:
            while True:
                found = self._take(topic, group, consumer, count)
                left = until - time.monotonic()
                if found or left <= 0:
                    return found
                self._changed.wait(left)

    def _take(self, topic: str, group: str, consumer: str, count: int) -> list[Delivery]:
        place = self._topics.setdefault(topic, _Topic())
        mine = place.groups.setdefault(group, _Group())
        now = self.clock()
        found: list[Delivery] = []
        for number, pending in sorted(mine.pending.items()):
            if number < place.first:
                del mine.pending[number]  # gone from the log
            elif len(found) < count and now - pending.since >= self.retry_s:
                if pending.count >= self.max_deliveries:
                    self._bury(place, topic, group, number, f"delivered {pending.count} times")
                    continue
                mine.pending[number] = _Pending(consumer, now, pending.count + 1)
                self._deliver(found, place, topic, group, number)
        mine.next = max(mine.next, place.first)
        while len(found) < count and mine.next < place.first + len(place.log):
            mine.pending[mine.next] = _Pending(consumer, now, 1)
            self._deliver(found, place, topic, group, mine.next)
            mine.next += 1
        return found

    def _deliver(
        self, found: list[Delivery], place: _Topic, topic: str, group: str, number: int
    ) -> None:
        try:
            envelope = from_json(place.log[number - place.first])
        except EnvelopeError as error:
            self._bury(place, topic, group, number, str(error))
            return
        count = place.groups[group].pending[number].count
        found.append(Delivery(topic, group, _position(number), count, envelope))

    def _bury(self, place: _Topic, topic: str, group: str, number: int, reason: str) -> None:
        place.groups[group].pending.pop(number, None)
        text = place.log[number - place.first]
        place.dead[place.buried] = DeadLetter(topic, group, _position(place.buried), reason, text)
        place.buried += 1

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that the message is dealt with."""
        with self._changed:
            group = self._topics[delivery.topic].groups[delivery.group]
            group.pending.pop(int(delivery.position), None)

    def reject(self, delivery: Delivery, reason: str) -> None:
        """Make the message a dead letter of its group."""
        with self._changed:
            place = self._topics[delivery.topic]
            number = int(delivery.position)
            if number in place.groups[delivery.group].pending and number >= place.first:
                self._bury(place, delivery.topic, delivery.group, number, reason)

    def dead_letters(self, topic: str) -> list[DeadLetter]:
        """Return the dead letters of a topic, oldest first."""
        with self._changed:
            return list(self._topics.setdefault(topic, _Topic()).dead.values())

    def resend(self, letter: DeadLetter) -> str:
        """Append a dead letter to the log again, and take it from the dead."""
        with self._changed:
            position = self.publish_text(letter.topic, letter.text)
            self._topics[letter.topic].dead.pop(int(letter.position), None)
            return position

    def replay(self, topic: str, after: str = "") -> Iterator[tuple[str, Envelope]]:
        """Go through the log as it is now; what is no envelope is passed over."""
        with self._changed:
            place = self._topics.setdefault(topic, _Topic())
            first = max(int(after) + 1 if after else 0, place.first)
            texts = list(enumerate(place.log[first - place.first :], start=first))
        for number, text in texts:
            try:
                yield _position(number), from_json(text)
            except EnvelopeError:
                continue

    def close(self) -> None:
        """Nothing to let go of."""


def _position(number: int) -> str:
    return f"{number:012d}"
