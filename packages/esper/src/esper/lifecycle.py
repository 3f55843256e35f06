"""The life of a seed as one pure table: `(state, event) -> state | Rejected(reason)`.

A seed is a place in a network where capacity may grow. It lies dormant until a controller
germinates it, learns beside the host without touching it (TRAINING), is faded in (GRAFTING),
held still while the host settles (STABILIZATION), judged (EVALUATING), tuned with the host
(FINE_TUNING) and at last part of it (FOSSILIZED). A seed that does not earn its parameters is
CULLED, one that was called off before it did anything is CANCELLED, one that was active when
training diverged is ROLLED_BACK; each of the three rests for an embargo before it may be
tried again.

Nothing here knows of tensors, clocks or files, so the whole behaviour can be tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a seed is in its life."""

    DORMANT = "dormant"
    GERMINATED = "germinated"
    LOADING = "loading"
    TRAINING = "training"
    GRAFTING = "grafting"
    STABILIZATION = "stabilization"
    EVALUATING = "evaluating"
    FINE_TUNING = "fine_tuning"
    FOSSILIZED = "fossilized"
    CULLED = "culled"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


class Event(StrEnum):
    """What can happen to a seed."""

    GERMINATE = "germinate"  # a controller chose this place and a blueprint
    LOAD = "load"  # building the blueprint has begun
    LOADED = "loaded"  # the branch is in place
    TRAINED = "trained"  # it has learnt beside the host long enough
    GRAFTED = "grafted"  # alpha has reached 1
    STABILIZED = "stabilized"  # the host has settled
    ACCEPT = "accept"  # its contribution pays its rent
    FOSSILIZE = "fossilize"  # tuned; from now on part of the host
    CULL = "cull"  # it does not earn its parameters
    CANCEL = "cancel"  # called off, or its blueprint could not be built
    FAULT = "fault"  # training diverged while it was active
    RELEASE = "release"  # the embargo is over


@dataclass(frozen=True)
class Rejected:
    """An event that the state does not allow; `reason` is one line for a person."""

    reason: str


EMBARGOED = frozenset({State.CULLED, State.CANCELLED, State.ROLLED_BACK})
"""States in which nothing but the end of the embargo is heard."""

WITH_BRANCH = frozenset(
    {
        State.TRAINING,
        State.GRAFTING,
        State.STABILIZATION,
        State.EVALUATING,
        State.FINE_TUNING,
        State.FOSSILIZED,
    }
)
"""States in which a seed holds parameters."""

ON_PATH = WITH_BRANCH - {State.TRAINING}
"""States in which the branch is part of what the model computes."""

_ALLOWED: dict[State, dict[Event, State]] = {
    State.DORMANT: {Event.GERMINATE: State.GERMINATED},
    State.GERMINATED: {
        Event.LOAD: State.LOADING,
        Event.CANCEL: State.CANCELLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.LOADING: {
        Event.LOADED: State.TRAINING,
        Event.CANCEL: State.CANCELLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.TRAINING: {
        Event.TRAINED: State.GRAFTING,
        Event.CULL: State.CULLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.GRAFTING: {
        Event.GRAFTED: State.STABILIZATION,
        Event.CULL: State.CULLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.STABILIZATION: {
        Event.STABILIZED: State.EVALUATING,
        Event.CULL: State.CULLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.EVALUATING: {
        Event.ACCEPT: State.FINE_TUNING,
        Event.CULL: State.CULLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.FINE_TUNING: {
        Event.FOSSILIZE: State.FOSSILIZED,
        Event.CULL: State.CULLED,
        Event.FAULT: State.ROLLED_BACK,
    },
    State.FOSSILIZED: {},
    State.CULLED: {Event.RELEASE: State.DORMANT},
    State.CANCELLED: {Event.RELEASE: State.DORMANT},
    State.ROLLED_BACK: {Event.RELEASE: State.DORMANT},
}


def _answer(state: State, event: Event) -> State | Rejected:
    if (target := _ALLOWED[state].get(event)) is not None:
        return target
    if state is State.FOSSILIZED:
        return Rejected(f"a fossilized seed is part of the host; {event} cannot undo that")
    if state in EMBARGOED:
        return Rejected(
            f"{event}: the seed is {state} and rests until its embargo is over; {Event.RELEASE} it "
            "then"
        )
    expected = ", ".join(_ALLOWED[state])
    return Rejected(f"{event} is not possible for a {state} seed; possible: {expected}")


TABLE: Mapping[tuple[State, Event], State | Rejected] = MappingProxyType(
    {(state, event): _answer(state, event) for state in State for event in Event}
)
"""The whole life cycle: an answer for every pair."""


def transition(state: State, event: Event) -> State | Rejected:
    """Return the state that follows, or why there is none. Total and pure."""
    return TABLE[state, event]


class RejectedEventError(ValueError):
    """An event that the table rejects, where the caller had no business sending it."""


@dataclass(frozen=True)
class Seed:
    """The life of one site: a value, replaced by the next at every event.

    `age` counts training steps since the state was entered; `embargo` counts the steps that a
    culled, cancelled or rolled-back seed still has to rest; `lives` how often it germinated.
    """

    site: str
    state: State = State.DORMANT
    blueprint: str | None = None
    age: int = 0
    embargo: int = 0
    lives: int = 0

    def on(self, event: Event, *, blueprint: str | None = None, embargo: int = 0) -> Seed:
        """Return the seed after `event`.

        `blueprint` names what is germinated; `embargo` is the rest in steps if the event ends
        in CULLED, CANCELLED or ROLLED_BACK. Raises RejectedEventError with the table's reason.
        """
        answer = transition(self.state, event)
        if isinstance(answer, Rejected):
            raise RejectedEventError(f"site '{self.site}': {answer.reason}")
        if event is Event.RELEASE and self.embargo > 0:
            raise RejectedEventError(
                f"site '{self.site}': release: the embargo has {self.embargo} steps to go"
            )
        if event is Event.GERMINATE and not blueprint:
            raise RejectedEventError(f"site '{self.site}': germinate: name a blueprint")
        return replace(
            self,
            state=answer,
            age=0,
            blueprint=(
                blueprint
                if event is Event.GERMINATE
                else None
                if answer is State.DORMANT
                else self.blueprint
            ),
            embargo=max(embargo, 0) if answer in EMBARGOED else 0,
            lives=self.lives + (event is Event.GERMINATE),
        )

    def step(self) -> Seed:
        """Return the seed one training step older; an embargo that ends releases it."""
        if self.state in EMBARGOED:
            if self.embargo <= 1:
                return replace(self, embargo=0).on(Event.RELEASE)
            return replace(self, age=self.age + 1, embargo=self.embargo - 1)
        return replace(self, age=self.age + 1)
