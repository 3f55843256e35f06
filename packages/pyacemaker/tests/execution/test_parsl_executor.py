"""Parallel work on Parsl: outcomes, errors, interrupts, and nothing left behind."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ase.build import bulk

from pyacemaker.execution.parsl_executor import ParslExecutor
from pyacemaker.oracle.base import OracleError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def work() -> Iterator[Callable[[str], object]]:
    """Return the function of parsl_work, importable here and in the workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield importlib.import_module("parsl_work").work


@pytest.fixture(scope="module")
def processes(work: object) -> Iterator[ParslExecutor]:
    with ParslExecutor(2, "processes") as executor:
        yield executor


def test_outcomes_come_in_order_of_completion() -> None:
    gates = [threading.Event() for _ in range(3)]

    def wait_for(index: int) -> int:
        assert gates[index].wait(10)
        return index * 10

    seen = []
    with ParslExecutor(3) as executor:
        outcomes = executor.map_unordered(wait_for, [0, 1, 2])
        for index in (2, 0, 1):
            gates[index].set()
            outcome = next(outcomes)
            seen.append((outcome.index, outcome.value, outcome.error))
        assert list(outcomes) == []
    assert seen == [(2, 20, None), (0, 0, None), (1, 10, None)]


def test_as_many_at_once_as_there_are_workers() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def count(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    with ParslExecutor(3) as executor:
        assert len(list(executor.map_unordered(count, range(12)))) == 12
    assert most == 3


def test_an_exception_is_the_outcome_of_its_item_only() -> None:
    def root(x: int) -> int:
        if x == 1:
            raise OracleError("SCF did not converge", {"attempts": 3})
        if x == 2:
            sys.exit("leaving")
        return x

    with ParslExecutor(2) as executor:
        found = {o.index: o for o in executor.map_unordered(root, [0, 1, 2, 3])}
    assert [found[0].value, found[3].value] == [0, 3]
    error = found[1].error
    assert isinstance(error, OracleError)
    assert (error.diagnosis, error.meta) == ("SCF did not converge", {"attempts": 3})
    assert isinstance(found[2].error, SystemExit)


def test_two_hundred_items_quickly_and_none_lost() -> None:
    start = time.monotonic()
    with ParslExecutor(4) as executor:
        found = {o.index: o.value for o in executor.map_unordered(str, range(200))}
    assert found == {i: str(i) for i in range(200)}
    assert time.monotonic() - start < 20
    with ParslExecutor(1) as executor:
        assert list(executor.map_unordered(str, [])) == []


def test_used_again_nested_and_side_by_side() -> None:
    executor = ParslExecutor(2)
    for _ in range(3):
        with executor:
            for _ in range(2):
                assert sorted(o.value for o in executor.map_unordered(abs, [-1, 2])) == [1, 2]

    def inner(x: int) -> int:
        with ParslExecutor(2) as nested:
            return sum(o.value or 0 for o in nested.map_unordered(abs, [-x, -x]))

    with ParslExecutor(2) as outer, ParslExecutor(1) as other:
        assert sorted(o.value for o in outer.map_unordered(inner, [1, 2])) == [2, 4]
        assert [o.value for o in other.map_unordered(abs, [-7])] == [7]


def test_an_early_end_of_the_loop_drops_what_waits() -> None:
    begun = []

    def begin(x: int) -> int:
        begun.append(x)
        time.sleep(0.05)
        return x

    with ParslExecutor(1) as executor:
        outcomes = executor.map_unordered(begin, range(50))
        next(outcomes)
        outcomes.close()
        assert [o.value for o in executor.map_unordered(abs, [-3])] == [3]
    assert len(begun) <= 3


def test_an_error_in_the_with_stops_the_running_thread() -> None:
    seen: list[type[BaseException]] = []
    started = threading.Event()

    def long(_: int) -> None:
        started.set()
        try:
            while True:
                time.sleep(0.01)
        except BaseException as stopped:
            seen.append(type(stopped))
            raise

    told: list[str] = []

    def wait_for_outcomes() -> None:
        try:
            list(executor.map_unordered(long, [1, 2, 3]))
        except RuntimeError as error:
            told.append(str(error))

    start = time.monotonic()
    waiting = threading.Thread(target=wait_for_outcomes)
    with pytest.raises(ZeroDivisionError), ParslExecutor(1) as executor:
        waiting.start()
        assert started.wait(10)
        raise ZeroDivisionError
    waiting.join(10)
    assert told == ["the executor was stopped before all was done"]
    assert seen == [KeyboardInterrupt]
    assert time.monotonic() - start < 15


def test_a_stop_between_two_items_is_told_as_a_stop() -> None:
    begun, closed = threading.Event(), threading.Event()

    class Items(list[int]):
        def __iter__(self) -> Iterator[int]:
            yield 1
            begun.set()
            assert closed.wait(10)
            yield 2

    told: list[str] = []

    def wait_for_outcomes() -> None:
        try:
            list(executor.map_unordered(abs, Items()))
        except RuntimeError as error:
            told.append(str(error))

    waiting = threading.Thread(target=wait_for_outcomes)
    with ParslExecutor(1) as executor:
        waiting.start()
        assert begun.wait(10)
    closed.set()
    waiting.join(10)
    assert told == ["the executor was stopped before all was done"]


def test_nothing_is_written_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    monkeypatch.chdir(here)
    with ParslExecutor(1) as executor:
        list(executor.map_unordered(abs, [1]))
        folder = executor._folder
        assert folder.is_dir()
    assert not folder.exists()
    with ParslExecutor(1, run_dir=there) as executor:
        list(executor.map_unordered(abs, [1]))
    assert there.is_dir()
    assert list(here.iterdir()) == []


def test_misuse_is_refused() -> None:
    for workers in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="workers"):
            ParslExecutor(workers)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind"):
        ParslExecutor(1, "gpus")  # type: ignore[arg-type]
    executor = ParslExecutor(1)
    with pytest.raises(RuntimeError, match="not open"):
        next(executor.map_unordered(abs, [1]))
    with executor, pytest.raises(RuntimeError, match="open already"):
        executor.__enter__()


def test_processes_work_on_structures(processes: ParslExecutor) -> None:
    atoms = [bulk("Cu") * (n, 1, 1) for n in (1, 2, 3)]
    found = {o.index: o.value for o in processes.map_unordered(len, atoms)}
    assert found == {0: 1, 1: 2, 2: 3}
    assert len(list(processes.map_unordered(abs, list(range(200))))) == 200


def test_processes_are_others_and_send_errors_home(
    processes: ParslExecutor, work: Callable[[str], object]
) -> None:
    orders = ["pid", "fail no convergence", "awkward", "unpicklable", "echo"]
    found = {o.index: o for o in processes.map_unordered(work, orders)}
    assert isinstance(found[0].value, int)
    assert found[0].value != os.getpid()
    error = found[1].error
    assert isinstance(error, OracleError)
    assert (error.diagnosis, error.meta) == ("no convergence", {"attempts": [1, 2]})
    assert "AwkwardError: this and that" in str(found[2].error)
    assert "cannot be sent back" in str(found[3].error)
    assert found[4].value == "echo"


def test_a_worker_that_dies_is_the_outcome_of_its_item(
    processes: ParslExecutor, work: Callable[[str], object]
) -> None:
    found = {o.index: o for o in processes.map_unordered(work, ["die", "echo"])}
    assert isinstance(found[0].error, Exception)
    assert found[1].value == "echo"
    assert [o.value for o in processes.map_unordered(work, ["again"])] == ["again"]


def test_every_socket_is_on_the_loopback(processes: ParslExecutor) -> None:
    list(processes.map_unordered(abs, [1]))
    me = psutil.Process()
    everything = [me, *me.children(recursive=True)]
    everything += [  # the workers have left the tree: Parsl starts them through a shell that ends
        p
        for p in psutil.process_iter(["cmdline"])  # None where it ended under our eyes
        if str(processes._folder) in " ".join(p.info["cmdline"] or [])
    ]
    listening = {
        c.laddr.ip.removeprefix("::ffff:")
        for process in everything
        for c in process.net_connections(kind="inet")
        if c.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_ctrl_c_ends_the_running_program_and_drops_the_rest(tmp_path: Path, kind: str) -> None:
    pid_file = tmp_path / "pid"
    orders = [f"program {tmp_path}", f"mark {tmp_path / 'never'}"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import parsl_work; parsl_work.main()", kind, *orders],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # tests in the background inherit an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        program = int(pid_file.read_text())
        assert psutil.pid_exists(program)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 130, errors
        assert output == "interrupted\n"
        assert "Traceback" not in errors
        deadline = time.monotonic() + 5
        while psutil.pid_exists(program):
            assert time.monotonic() < deadline, "the program outlived the interrupt"
            time.sleep(0.05)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "pid"]
    finally:
        process.kill()
        process.communicate()
