"""What a training tells on the bus. The history is the outbox: nothing told can get lost.

Messages are made from the history, in its order, after a checkpoint holds it; `told.json` says
how far they went. Where the bus cannot be reached training goes on, and what was not told is
told later, or when the same command runs again. A message told twice has the same id.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esper.files import write_whole
from esper.oona.base import Bus, BusError
from esper.oona.envelopes import (
    Envelope,
    EpochFinished,
    GrowthHappened,
    Message,
    RunFinished,
    RunStarted,
)
from esper.oona.open import TRAINING

TOLD = "told.json"
_PATIENCE_S = 30.0  # between two tries, while the bus is gone


class Teller:
    """Tells the history of one run, each part once."""

    def __init__(
        self,
        bus: Bus,
        run: str,
        epochs: int,
        workdir: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bus = bus
        self.run = run
        self.epochs = epochs
        self.path = workdir / TOLD if workdir else None
        self.clock = clock
        self.told: set[str] = set()
        self.failure: str | None = None
        self._next_try = 0.0
        if self.path is not None and self.path.exists():
            try:
                self.told = set(json.loads(self.path.read_text())["ids"])
            except (ValueError, KeyError, TypeError):
                self.told = set()  # then all is told again, with the ids it had

    def tell(
        self, history: dict[str, Any], outcome: dict[str, Any] | None = None, *, last: bool = False
    ) -> int:
        """Tell what is new; returns how many messages could not be told. Never raises."""
        waiting = [(key, m) for key, m in self._messages(history, outcome) if key not in self.told]
        if not waiting or (self.clock() < self._next_try and not last):
            return len(waiting)
        sent = 0
        try:
            for key, message in waiting:
                self.bus.publish(TRAINING, Envelope(id=key, source="tolaria", message=message))
                self.told.add(key)
                sent += 1
            self.failure = None
        except BusError as error:
            self.failure = str(error)
            self._next_try = self.clock() + _PATIENCE_S
        if sent and self.path is not None:
            write_whole(self.path, json.dumps({"ids": sorted(self.told)}) + "\n")
        return len(waiting) - sent

    def _messages(
        self, history: dict[str, Any], outcome: dict[str, Any] | None
    ) -> list[tuple[str, Message]]:
        begun = RunStarted(run=self.run, epoch=0, epochs=self.epochs)
        found: list[tuple[str, Message]] = [(f"{self.run}:started", begun)]
        parts = [(e["epoch"], 0, i, e) for i, e in enumerate(history["epochs"])]
        parts += [(e["epoch"], 1, i, e) for i, e in enumerate(history["events"])]
        for _, which, index, value in sorted(parts, key=lambda part: part[:3]):
            if which == 0:
                kept = {k: value[k] for k in EpochFinished.model_fields if k in value}
                found.append((f"{self.run}:epoch:{index}", EpochFinished(run=self.run, **kept)))
            else:
                what = {k: v for k, v in value.items() if k not in {"epoch", "step", "kind"}}
                message = GrowthHappened(
                    run=self.run,
                    epoch=value["epoch"],
                    step=value["step"],
                    event=value["kind"],
                    what=what,
                )
                found.append((f"{self.run}:event:{index}", message))
        if outcome is not None:
            found.append((f"{self.run}:finished", RunFinished(run=self.run, result=outcome)))
        return found
