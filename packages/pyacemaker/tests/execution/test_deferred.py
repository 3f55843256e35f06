"""The executor that is opened when the first work comes."""

from __future__ import annotations

import pytest

from pyacemaker.execution.base import Executor
from pyacemaker.execution.deferred import DeferredExecutor
from pyacemaker.execution.parsl_executor import ParslExecutor

MADE: list[int] = []


def make(workers: int) -> Executor:
    MADE.append(workers)
    return ParslExecutor(workers)


@pytest.fixture(autouse=True)
def _none_made() -> None:
    MADE.clear()


def test_it_is_opened_once_and_only_for_work() -> None:
    with DeferredExecutor(2, make) as executor:
        assert MADE == []
        for _ in range(2):
            found = {outcome.index: outcome.value for outcome in executor.map_unordered(abs, [-1])}
            assert found == {0: 1}
        assert MADE == [2]


def test_without_work_there_is_nothing_to_close() -> None:
    with DeferredExecutor(1, make):
        pass
    assert MADE == []


def test_it_is_used_in_a_with_statement() -> None:
    executor = DeferredExecutor(1, make)
    with pytest.raises(RuntimeError, match="with statement"):
        executor.map_unordered(abs, [1])
    with executor, pytest.raises(RuntimeError, match="open already"), executor:
        pass
    with executor:  # again, at will
        assert next(executor.map_unordered(abs, [-3])).value == 3


def test_an_exception_reaches_the_executor_that_was_opened() -> None:
    seen: list[type[BaseException] | None] = []

    class Watched(ParslExecutor):
        def __exit__(self, kind, value, trace) -> None:  # type: ignore[no-untyped-def]
            seen.append(kind)
            super().__exit__(kind, value, trace)

    with pytest.raises(KeyboardInterrupt), DeferredExecutor(1, Watched) as executor:
        next(executor.map_unordered(abs, [-3]))
        raise KeyboardInterrupt
    assert seen == [KeyboardInterrupt]
