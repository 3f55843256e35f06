"""The life cycle: every pair of the table, and a thousand random lives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper.lifecycle import (
    EMBARGOED,
    ON_PATH,
    TABLE,
    WITH_BRANCH,
    Event,
    Rejected,
    RejectedEventError,
    Seed,
    State,
    transition,
)

S, E = State, Event
# The expectation is written out on its own, state by state, not derived from the code.
EXPECTED = {
    (S.DORMANT, E.GERMINATE): S.GERMINATED,
    (S.GERMINATED, E.LOAD): S.LOADING,
    (S.GERMINATED, E.CANCEL): S.CANCELLED,
    (S.GERMINATED, E.FAULT): S.ROLLED_BACK,
    (S.LOADING, E.LOADED): S.TRAINING,
    (S.LOADING, E.CANCEL): S.CANCELLED,
    (S.LOADING, E.FAULT): S.ROLLED_BACK,
    (S.TRAINING, E.TRAINED): S.GRAFTING,
    (S.TRAINING, E.CULL): S.CULLED,
    (S.TRAINING, E.FAULT): S.ROLLED_BACK,
    (S.GRAFTING, E.GRAFTED): S.STABILIZATION,
    (S.GRAFTING, E.CULL): S.CULLED,
    (S.GRAFTING, E.FAULT): S.ROLLED_BACK,
    (S.STABILIZATION, E.STABILIZED): S.EVALUATING,
    (S.STABILIZATION, E.CULL): S.CULLED,
    (S.STABILIZATION, E.FAULT): S.ROLLED_BACK,
    (S.EVALUATING, E.ACCEPT): S.FINE_TUNING,
    (S.EVALUATING, E.CULL): S.CULLED,
    (S.EVALUATING, E.FAULT): S.ROLLED_BACK,
    (S.FINE_TUNING, E.FOSSILIZE): S.FOSSILIZED,
    (S.FINE_TUNING, E.CULL): S.CULLED,
    (S.FINE_TUNING, E.FAULT): S.ROLLED_BACK,
    (S.CULLED, E.RELEASE): S.DORMANT,
    (S.CANCELLED, E.RELEASE): S.DORMANT,
    (S.ROLLED_BACK, E.RELEASE): S.DORMANT,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_pair_has_the_expected_answer(state: State, event: Event) -> None:
    answer = transition(state, event)
    if (state, event) in EXPECTED:
        assert answer is EXPECTED[state, event]
    else:
        assert isinstance(answer, Rejected)
        assert str(event) in answer.reason
        assert str(state).split("_", maxsplit=1)[0] in answer.reason


def test_the_table_is_total_and_cannot_be_changed() -> None:
    assert set(TABLE) == {(state, event) for state in State for event in Event}
    with pytest.raises(TypeError):
        TABLE[S.DORMANT, E.CULL] = S.DORMANT  # type: ignore[index]


def test_every_state_is_reached_and_only_fossils_are_final() -> None:
    reached, todo = {S.DORMANT}, [S.DORMANT]
    while todo:
        here = todo.pop()
        ahead = {a for e in Event if isinstance(a := transition(here, e), State)}
        assert bool(ahead) is (here is not S.FOSSILIZED)
        todo += ahead - reached
        reached |= ahead
    assert reached == set(State)


events = st.lists(st.sampled_from([*Event, "step"]), max_size=25)


@settings(max_examples=1000, deadline=None)
@given(events=events, embargo=st.integers(0, 8))
def test_random_lives_keep_every_invariant(events: list[Event | str], embargo: int) -> None:
    seed = Seed("fc1")
    for event in events:
        before = seed
        if event == "step":
            seed = seed.step()
            if before.state in EMBARGOED:
                left = before.embargo - 1
                assert seed.state is (before.state if left > 0 else S.DORMANT)
            else:
                assert (seed.state, seed.age) == (before.state, before.age + 1)
            continue
        assert isinstance(event, Event)
        try:
            seed = seed.on(event, blueprint="bottleneck", embargo=embargo)
        except RejectedEventError as error:
            assert "fc1" in str(error)
            assert seed == before
            early = event is E.RELEASE and before.embargo > 0
            assert early or isinstance(transition(before.state, event), Rejected)
        else:
            assert seed.state is EXPECTED[before.state, event]
            assert seed.age == 0
        # what holds in every state
        assert (seed.blueprint is None) is (seed.state is S.DORMANT)
        assert seed.embargo == 0 or seed.state in EMBARGOED
        assert seed.lives >= before.lives
        if before.state is S.FOSSILIZED:
            assert seed.state is S.FOSSILIZED


def test_an_embargo_holds_for_its_steps_and_then_releases() -> None:
    seed = Seed("a").on(E.GERMINATE, blueprint="conv").on(E.CANCEL, embargo=3)
    for left in (2, 1):
        seed = seed.step()
        assert (seed.state, seed.embargo) == (S.CANCELLED, left)
        with pytest.raises(RejectedEventError, match=f"{left} steps to go"):
            seed.on(E.RELEASE)
    seed = seed.step()
    assert seed == Seed("a", lives=1)


def test_a_seed_germinates_only_with_a_blueprint() -> None:
    with pytest.raises(RejectedEventError, match="name a blueprint"):
        Seed("a").on(E.GERMINATE)


def test_a_training_seed_has_a_branch_that_is_not_on_the_path() -> None:
    assert {S.TRAINING} == WITH_BRANCH - ON_PATH
    assert not WITH_BRANCH & EMBARGOED
