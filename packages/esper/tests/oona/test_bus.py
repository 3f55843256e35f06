"""One contract, two buses: inside the process, and a real Redis."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from esper.oona.base import Bus, BusError
from esper.oona.envelopes import (
    BlueprintAdded,
    Envelope,
    EnvelopeError,
    RunFinished,
    from_json,
    to_json,
)
from esper.oona.memory import MemoryBus
from esper.oona.open import open_bus
from esper.oona.redis import RedisBus

RETRY_S = 0.15


def envelope(number: int) -> Envelope:
    message = BlueprintAdded(blueprint=str(number), name="mlp")
    return Envelope(id=f"m{number}", source="test", message=message)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.real)])
def bus(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        made: Any = MemoryBus(retry_s=RETRY_S, max_deliveries=2, kept=50)
    else:
        server = request.getfixturevalue("redis_server")
        made = RedisBus(
            server.url, retry_s=RETRY_S, max_deliveries=2, kept=50, prefix=uuid.uuid4().hex
        )
    yield made
    made.close()


def ids(deliveries: list[Any]) -> list[str]:
    return [d.envelope.id for d in deliveries]


def test_a_group_reads_all_from_the_start_each_message_once(bus: Bus) -> None:
    positions = [bus.publish("t", envelope(n)) for n in range(5)]
    assert positions == sorted(set(positions), key=positions.index)
    first = bus.read("t", "g", "a", count=3)
    second = bus.read("t", "g", "b", count=3)
    assert (ids(first), ids(second)) == (["m0", "m1", "m2"], ["m3", "m4"])
    assert {d.count for d in first + second} == {1}
    assert first[0].envelope == envelope(0).model_copy(update={"at": first[0].envelope.at})
    assert bus.read("t", "g", "a") == []
    assert ids(bus.read("t", "other", "a")) == [f"m{n}" for n in range(5)]


def test_what_is_not_acknowledged_goes_to_another_consumer(bus: Bus) -> None:
    bus.publish("t", envelope(0))
    bus.publish("t", envelope(1))
    first = bus.read("t", "g", "dies")
    bus.acknowledge(first[0])
    assert bus.read("t", "g", "lives") == []
    time.sleep(RETRY_S + 0.05)
    (again,) = bus.read("t", "g", "lives")
    assert (again.envelope.id, again.count) == ("m1", 2)
    bus.acknowledge(again)
    time.sleep(RETRY_S + 0.05)
    assert bus.read("t", "g", "lives") == []
    assert bus.dead_letters("t") == []


def test_what_kills_every_consumer_is_dead_and_can_be_sent_again(bus: Bus) -> None:
    bus.publish("t", envelope(0))
    for count in (1, 2):
        (here,) = bus.read("t", "g", "c")
        assert here.count == count
        time.sleep(RETRY_S + 0.05)
    assert bus.read("t", "g", "c") == []
    (letter,) = bus.dead_letters("t")
    assert (letter.group, letter.reason) == ("g", "delivered 2 times")
    bus.resend(letter)
    assert bus.dead_letters("t") == []
    (here,) = bus.read("t", "g", "c")
    assert (here.envelope.id, here.count) == ("m0", 1)


def test_a_rejected_message_is_dead_with_its_reason_and_others_go_on(bus: Bus) -> None:
    for n in range(3):
        bus.publish("t", envelope(n))
    a, b, c = bus.read("t", "g", "x")
    bus.reject(b, "makes no sense")
    bus.acknowledge(a)
    bus.acknowledge(c)
    (letter,) = bus.dead_letters("t")
    assert from_json(letter.text).id == "m1"
    assert letter.reason == "makes no sense"
    time.sleep(RETRY_S + 0.05)
    assert bus.read("t", "g", "x") == []


def test_what_is_no_envelope_never_reaches_a_consumer(bus: Any) -> None:
    bus.publish_text("t", '{"id": "x", "source": "s", "message": {"kind": "no_such"}}')
    bus.publish("t", envelope(1))
    assert ids(bus.read("t", "g", "c")) == ["m1"]
    (letter,) = bus.dead_letters("t")
    assert "message" in letter.reason
    assert [e.id for _, e in bus.replay("t")] == ["m1"]


def test_replay_goes_through_the_log_and_disturbs_nobody(bus: Bus) -> None:
    for n in range(4):
        bus.publish("t", envelope(n))
    everything = list(bus.replay("t"))
    assert [e.id for _, e in everything] == ["m0", "m1", "m2", "m3"]
    assert [e.id for _, e in bus.replay("t", after=everything[1][0])] == ["m2", "m3"]
    assert list(bus.replay("t", after=everything[3][0])) == []
    assert list(bus.replay("empty")) == []
    assert len(bus.read("t", "g", "c")) == 4


def test_a_reader_waits_for_a_message(bus: Bus) -> None:
    bus.publish("t", envelope(0))
    bus.acknowledge(bus.read("t", "g", "c")[0])
    timer = threading.Timer(0.2, bus.publish, ["t", envelope(1)])
    timer.start()
    assert ids(bus.read("t", "g", "c", wait_s=20)) == ["m1"]
    timer.join()
    begun = time.monotonic()
    assert bus.read("t", "g", "c", wait_s=0.1) == []
    assert time.monotonic() - begun >= 0.09


def test_consumers_side_by_side_share_the_messages(bus: Bus) -> None:
    total, found = 40, []
    for n in range(total):
        bus.publish("t", envelope(n))

    def work(name: str) -> None:
        while deliveries := bus.read("t", "g", name, count=3):
            for delivery in deliveries:
                found.append(delivery.envelope.id)
                bus.acknowledge(delivery)

    threads = [threading.Thread(target=work, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(f"m{n}" for n in range(total))


@pytest.mark.real
def test_a_redis_that_is_gone_is_told_and_one_that_comes_back_has_all(redis_server: Any) -> None:
    bus = RedisBus(redis_server.url, retry_s=RETRY_S, prefix="gone")
    bus.publish("t", envelope(0))
    bus.read("t", "g", "c")
    redis_server.kill()
    calls: list[Callable[[], Any]] = [
        lambda: bus.publish("t", envelope(1)),
        lambda: bus.read("t", "g", "c"),
        lambda: bus.dead_letters("t"),
        lambda: list(bus.replay("t")),
    ]
    for call in calls:
        with pytest.raises(BusError, match="Redis: "):
            call()
    redis_server.start()
    bus.publish("t", envelope(1))
    time.sleep(RETRY_S + 0.05)
    assert ids(bus.read("t", "g", "c")) == ["m0", "m1"]


def test_envelopes_say_what_is_wrong() -> None:
    there = Envelope(id="a", source="s", message=RunFinished(run="r", result={"x": 1.5}))
    assert from_json(to_json(there)) == there
    with pytest.raises(EnvelopeError, match=r"key 'message\.run_finished\.result'"):
        from_json('{"id":"a","source":"s","message":{"kind":"run_finished","run":"r"}}')
    with pytest.raises(EnvelopeError):
        from_json("[]")


def test_an_unknown_bus_is_refused() -> None:
    assert isinstance(open_bus("memory:"), MemoryBus)
    with pytest.raises(BusError, match=r"use memory: or redis://"):
        open_bus("kafka://here")
