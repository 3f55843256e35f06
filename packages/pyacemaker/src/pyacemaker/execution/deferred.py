"""An executor that is opened when the first work comes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from pyacemaker.execution.base import Executor, Outcome

T = TypeVar("T")
R = TypeVar("R")


class DeferredExecutor:
    """Opens the executor that `make` returns for `workers` at the first call for work.

    Importing and starting Parsl takes a second or two, and a resumed campaign may have nothing
    for it to do. Not for executors whose opening may be refused: that is to be known at once.
    """

    def __init__(self, workers: int, make: Callable[[int], Executor]) -> None:
        self.workers = workers
        self._make = make
        self._opening = threading.Lock()
        self._opened: Executor | None = None
        self._closing: contextlib.ExitStack | None = None

    def __enter__(self) -> Self:
        if self._closing is not None:
            raise RuntimeError("this executor is open already: make a second one to nest them")
        self._closing = contextlib.ExitStack()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        closing, self._closing, self._opened = self._closing, None, None
        if closing is not None:
            closing.__exit__(kind, value, trace)

    def map_unordered(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[Outcome[R]]:
        """Yield an outcome for every item as soon as it is there, in order of completion."""
        with self._opening:
            if self._closing is None:
                raise RuntimeError("the executor is not open: use it in a with statement")
            if self._opened is None:
                self._opened = self._closing.enter_context(self._make(self.workers))
        return self._opened.map_unordered(function, items)
