"""The one interface to whatever runs work in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of one item: a value, or the exception that was raised for it."""

    index: int
    value: R | None = None
    error: BaseException | None = None


class ExecutionError(RuntimeError):
    """The machines that should do the work do not; the message says why and what helps."""


class Executor(Protocol):
    """Runs a function over items, several at once."""

    workers: int

    def map_unordered(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[Outcome[R]]:
        """Yield an outcome for every item as soon as it is there, in order of completion."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
