"""Work in parallel on Parsl: threads or processes of this machine.

Parsl does the scheduling; this module only keeps it to ourselves: a private
DataFlowKernel for each ``with``, nothing written into the current directory, no
memoization, no usage tracking, every socket on the loopback interface.

Another place to run is another `_parsl_config`: see `slurm_executor`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import pickle
import queue
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.providers import LocalProvider

from pyacemaker.execution.base import Outcome

T = TypeVar("T")
R = TypeVar("R")

Kind = Literal["threads", "processes"]

_LOOPBACK = "127.0.0.1"
_LOOK_S = 0.2  # how long an interrupt sent to a thread that waits for outcomes may go unseen
_HEARTBEAT_S = 5  # workers whose interchange is gone end after four of these
_STOPPED = "the executor was stopped before all was done"
_HTEX = "parsl.executors.high_throughput"
# The interchange must not outlive this process (a kill -9 runs no clean-up), nor take a Ctrl-C
# that is meant for it.
INTERCHANGE = (
    "import ctypes, os, runpy, signal, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    f"runpy.run_module('{_HTEX}.interchange', run_name='__main__')\n"
)
# Of this Python, whatever PATH says; a .venv need not be activated.
WORKER_COMMAND = DEFAULT_LAUNCH_CMD.replace(
    "process_worker_pool.py", f"'{sys.executable}' -m {_HTEX}.process_worker_pool"
)


class ParslExecutor:
    """Runs a function over items, `workers` at once. A context manager; use it again at will.

    Parameters
    ----------
    workers
        How many items are worked on at once.
    kind
        ``threads`` (for functions that spend their time in external programs or in code
        that releases the interpreter's lock; nothing needs to be picklable) or
        ``processes`` (for Python code; function, items and values are pickled).
    run_dir
        Folder for Parsl's own files; a temporary one, removed at the end, if None.

    Raises
    ------
    ValueError
        If `workers` is less than one or `kind` is unknown.

    An exception that leaves the ``with``, an interrupt above all, drops what is waiting and
    stops what is running: threads by a KeyboardInterrupt raised in them (`run_program` then
    kills its program), processes by ending them.
    """

    def __init__(self, workers: int, kind: Kind = "threads", run_dir: Path | None = None) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number of at least 1, not {workers!r}")
        if kind not in {"threads", "processes"}:
            raise ValueError(f"kind must be 'threads' or 'processes', not {kind!r}")
        self.workers = workers
        self.kind: Kind = kind
        self._wanted_dir = run_dir
        self._kernel: DataFlowKernel | None = None
        self._closing = contextlib.ExitStack()
        self._folder = Path()
        self._threads = _RunningThreads()
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        if self._kernel is not None:
            raise RuntimeError("this executor is open already: make a second one to nest them")
        with contextlib.ExitStack() as stack:
            if self._wanted_dir is None:
                name = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="pyacemaker-", ignore_cleanup_errors=True)
                )
                self._folder = Path(name)
            else:
                self._folder = self._wanted_dir.resolve()
                self._folder.mkdir(parents=True, exist_ok=True)
            self._kernel = DataFlowKernel(self._parsl_config(self._folder))
            stack.callback(self._close_kernel)
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stop_file().touch()
            self._threads.interrupt()
        self._closing.close()

    def map_unordered(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[Outcome[R]]:
        """Yield an outcome for every item as soon as it is there, in order of completion.

        An exception that `function` raises is the outcome of its item, with its type where
        that can be pickled. Leaving the loop early drops the items not yet begun.
        """
        kernel = self._kernel
        if kernel is None:
            raise RuntimeError("the executor is not open: use it in a with statement")
        done: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
        stops = (self._stop_file(), self._folder / f"stop-{next(self._numbers)}")
        threads = self._threads if self.kind == "threads" else None
        try:
            for index, item in enumerate(items):
                task = _Task(function, item, stops, threads)
                future = self._submitted(kernel, task)
                future.add_done_callback(partial(_hand_over, done, index))
            for _ in items:
                while (ended := _next(done)) is None:
                    if self._kernel is not kernel:
                        raise RuntimeError(_STOPPED)
                outcome: Outcome[R] = self._outcome(*ended)
                if isinstance(outcome.error, _DroppedError):
                    raise RuntimeError(_STOPPED)
                yield outcome
        except BaseException as reason:
            with contextlib.suppress(FileNotFoundError):  # closed already
                stops[1].touch()
            if not isinstance(reason, GeneratorExit):
                self._threads.interrupt()
            raise

    def _submitted(self, kernel: DataFlowKernel, task: _Task[Any, Any]) -> Future[Any]:
        try:
            future: Future[Any] = kernel.submit(
                _run, (task,), [self.kind], cache=False, ignore_for_cache=None, app_kwargs={}
            )
        except Exception as refused:
            # The other thread closed the kernel between two items; any other refusal is a defect.
            if self._kernel is not kernel:
                raise RuntimeError(_STOPPED) from refused
            raise
        return future

    def _parsl_config(self, folder: Path) -> Config:
        return _config(self.workers, self.kind, folder)

    def _outcome(self, index: int, ended: Future[Any]) -> Outcome[Any]:
        try:
            answer = ended.result()
            if isinstance(answer, bytes):
                answer = pickle.loads(answer)  # noqa: S301 - from our own worker, encrypted
            value, error = answer
        except Exception as lost:  # the worker died, or could not be sent the item
            return Outcome(index, error=self._explained(lost))
        return Outcome(index, value, error)

    def _explained(self, lost: Exception) -> BaseException:
        """Return what the caller is told of an item that Parsl lost."""
        return lost

    def _stop_file(self) -> Path:
        return self._folder / "stop"

    def _close_kernel(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.cleanup()
        self._stop_file().unlink(missing_ok=True)


def _config(workers: int, kind: Kind, folder: Path) -> Config:
    if kind == "threads":
        executor = ThreadPoolExecutor(label=kind, max_threads=workers)
    else:
        executor = HighThroughputExecutor(
            label=kind,
            address=_LOOPBACK,
            loopback_address=_LOOPBACK,
            encrypted=True,  # other users of this machine reach its loopback too
            max_workers_per_node=workers,
            cores_per_worker=1e-6,  # the number of workers is the caller's choice
            heartbeat_period=_HEARTBEAT_S,
            heartbeat_threshold=4 * _HEARTBEAT_S,
            launch_cmd=WORKER_COMMAND,
            interchange_launch_cmd=[sys.executable, "-c", INTERCHANGE],
            provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        )
    return Config(
        executors=[executor],
        run_dir=str(folder / "parsl"),
        strategy="none",
        strategy_period=1,
        retries=0,
        usage_tracking=0,
        monitoring=None,
        initialize_logging=False,
    )


@dataclass(frozen=True)
class _Task(Generic[T, R]):
    function: Callable[[T], R]
    item: T
    stops: tuple[Path, ...]
    threads: _RunningThreads | None  # None in another process


class _DroppedError(RuntimeError):
    """The item was waiting when the work was stopped: it has no outcome."""


def _run(task: _Task[T, R]) -> Any:
    """Run one item where Parsl put it; never raises, so that Parsl sees no failures."""
    value, error = None, None
    try:
        if any(stop.exists() for stop in task.stops):
            raise _DroppedError
        with task.threads.here() if task.threads else contextlib.nullcontext():
            value = task.function(task.item)
    except BaseException as raised:
        error = raised
    return (value, error) if task.threads else _pickled(value, error)


def _pickled(value: Any, error: BaseException | None) -> bytes:
    # Read back here, for in Parsl's receiving thread a failure would hang the caller.
    try:
        data = pickle.dumps((value, error))
        pickle.loads(data)  # noqa: S301 - made two lines above
        return data
    except Exception as failed:
        if error is None:
            problem = f"the result cannot be sent back from its process: {failed!r}"
        else:
            problem = "".join(traceback.format_exception_only(error)).strip()
        return pickle.dumps((None, RuntimeError(problem)))


def _hand_over(
    done: queue.SimpleQueue[tuple[int, Future[Any]]], index: int, ended: Future[Any]
) -> None:
    done.put((index, ended))


def _next(
    done: queue.SimpleQueue[tuple[int, Future[Any]]],
) -> tuple[int, Future[Any]] | None:
    with contextlib.suppress(queue.Empty):
        return done.get(timeout=_LOOK_S)
    return None


class _RunningThreads:
    """The threads that run a task at this moment, so that an interrupt can reach them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._lock:
            self._running.add(me)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(me)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in each, once."""
        with self._lock:
            for thread in self._running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
                )
            self._running.clear()
