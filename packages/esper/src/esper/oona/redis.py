"""The bus between machines: Redis Streams (Redis 6.2 or newer).

A topic is a stream `esper:TOPIC`, a group a consumer group, dead letters a stream
`esper:TOPIC:dead`. Messages left behind are taken over by XAUTOCLAIM.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from esper.oona.base import KEPT, MAX_DELIVERIES, RETRY_S, BusError, DeadLetter, Delivery
from esper.oona.envelopes import Envelope, EnvelopeError, from_json, to_json

_PAGE = 500
_MOVE = """
redis.call('XADD', KEYS[2], '*', 'text', ARGV[3], 'group', ARGV[1], 'reason', ARGV[4])
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""
_RESEND = """
if redis.call('XDEL', KEYS[2], ARGV[1]) == 0 then return false end
return redis.call('XADD', KEYS[1], '*', 'text', ARGV[2])
"""


class RedisBus:
    """A bus at `redis://...`, `rediss://...` or `unix:///SOCKET`."""

    def __init__(
        self,
        url: str,
        *,
        retry_s: float = RETRY_S,
        max_deliveries: int = MAX_DELIVERIES,
        kept: int = KEPT,
        prefix: str = "esper",
    ) -> None:
        self.retry_s = retry_s
        self.max_deliveries = max_deliveries
        self.kept = kept
        self.prefix = prefix
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_connect_timeout=5,
                socket_timeout=35,
                decode_responses=True,
                encoding_errors="replace",  # bytes that are no text become a dead letter as well
            )
        except ValueError as error:
            raise BusError(f"the bus's URL is not usable ({error})") from None

    def publish(self, topic: str, envelope: Envelope) -> str:
        """Append to the topic's log."""
        return self.publish_text(topic, to_json(envelope))

    def publish_text(self, topic: str, text: str) -> str:
        """Append a text as it is."""
        with _told():
            return str(
                self._redis.xadd(
                    self._stream(topic), {"text": text}, maxlen=self.kept, approximate=True
                )
            )

    def read(
        self, topic: str, group: str, consumer: str, *, count: int = 10, wait_s: float = 0.0
    ) -> list[Delivery]:
        """Return what the group has not seen, and what its consumers left behind."""
        stream = self._stream(topic)
        with _told():
            try:
                return self._read(stream, topic, group, consumer, count, wait_s)
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
            with contextlib.suppress(ResponseError):  # another consumer may make it first
                self._redis.xgroup_create(stream, group, id="0", mkstream=True)
            return self._read(stream, topic, group, consumer, count, wait_s)

    def _read(
        self, stream: str, topic: str, group: str, consumer: str, count: int, wait_s: float
    ) -> list[Delivery]:
        found: list[Delivery] = []
        idle = int(self.retry_s * 1000)
        cursor = "0-0"
        while len(found) < count:
            claimed = self._redis.xautoclaim(
                stream, group, consumer, idle, start_id=cursor, count=count - len(found)
            )
            cursor, entries = claimed[0], claimed[1]
            for position, fields in entries:
                pending = self._redis.xpending_range(stream, group, position, position, 1)
                times = int(pending[0]["times_delivered"]) if pending else 1
                if times > self.max_deliveries:
                    reason = f"delivered {times - 1} times"
                    self._bury(stream, group, position, fields.get("text", ""), reason)
                else:
                    self._deliver(found, stream, topic, group, position, fields, times)
            if cursor in {"0-0", b"0-0"}:
                break
        if len(found) < count:
            wait = None if found or wait_s <= 0 else min(int(wait_s * 1000), 30_000)
            fresh = self._redis.xreadgroup(
                group, consumer, {stream: ">"}, count=count - len(found), block=wait
            )
            for _, entries in fresh.items() if isinstance(fresh, dict) else fresh or []:
                for position, fields in entries:
                    self._deliver(found, stream, topic, group, position, fields, 1)
        return found

    def _deliver(
        self,
        found: list[Delivery],
        stream: str,
        topic: str,
        group: str,
        position: str,
        fields: dict[str, str],
        count: int,
    ) -> None:
        text = fields.get("text", "")
        try:
            found.append(Delivery(topic, group, position, count, from_json(text)))
        except EnvelopeError as error:
            self._bury(stream, group, position, text, str(error))

    def _bury(self, stream: str, group: str, position: str, text: str, reason: str) -> None:
        """Move a message to the dead in one step, so that a crash neither loses nor doubles it."""
        self._redis.eval(_MOVE, 2, stream, f"{stream}:dead", group, position, text, reason)

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that the message is dealt with."""
        with _told():
            self._redis.xack(self._stream(delivery.topic), delivery.group, delivery.position)

    def reject(self, delivery: Delivery, reason: str) -> None:
        """Make the message a dead letter of its group."""
        with _told():
            stream = self._stream(delivery.topic)
            text = to_json(delivery.envelope)
            self._bury(stream, delivery.group, delivery.position, text, reason)

    def dead_letters(self, topic: str) -> list[DeadLetter]:
        """Return the dead letters of a topic, oldest first."""
        with _told():
            return [
                DeadLetter(topic, fields["group"], position, fields["reason"], fields["text"])
                for position, fields in self._redis.xrange(f"{self._stream(topic)}:dead")
            ]

    def resend(self, letter: DeadLetter) -> str:
        """Append a dead letter to the log again, and take it from the dead, in one step."""
        stream = self._stream(letter.topic)
        with _told():
            position = self._redis.eval(
                _RESEND, 2, stream, f"{stream}:dead", letter.position, letter.text
            )
        if position is None:
            raise BusError(f"the dead letter {letter.position} is gone: it was sent already")
        return str(position)

    def replay(self, topic: str, after: str = "") -> Iterator[tuple[str, Envelope]]:
        """Go through the log as it is now; what is no envelope is passed over."""
        stream = self._stream(topic)
        with _told():
            newest = self._redis.xrevrange(stream, count=1)
        last = newest[0][0] if newest else "0-0"
        start = f"({after}" if after else "-"
        while newest:
            with _told():
                page = self._redis.xrange(stream, start, last, count=_PAGE)
            for position, fields in page:
                with contextlib.suppress(EnvelopeError):
                    yield position, from_json(fields.get("text", ""))
            if len(page) < _PAGE:
                return
            start = f"({page[-1][0]}"

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _stream(self, topic: str) -> str:
        return f"{self.prefix}:{topic}"


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BusError(f"Redis: {first}") from None
