"""External programs end when they should, with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pyacemaker.process import StoppedError, allow_programs, run_program, stop_programs


def _alive(pid: int) -> bool:
    """Say whether a process exists and is not a zombie waiting for its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def _wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


def test_output_and_return_code(tmp_path: Path) -> None:
    out = tmp_path / "out"
    end = run_program(
        ["sh", "-c", "echo a; echo b >&2; exit 3"], cwd=tmp_path, stdout=out, timeout_s=10
    )
    assert (end.returncode, end.timed_out) == (3, False)
    assert sorted(out.read_text().split()) == ["a", "b"]
    assert end.describe() == "exit status 3"


def test_a_signal_is_named(tmp_path: Path) -> None:
    end = run_program(
        ["sh", "-c", "kill -SEGV $$"], cwd=tmp_path, stdout=tmp_path / "o", timeout_s=10
    )
    assert end.describe() == "killed by SIGSEGV"


def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_program(["no-such-program"], cwd=tmp_path, stdout=tmp_path / "o", timeout_s=1)


def test_time_limit_kills_grandchildren_that_ignore_sigterm(tmp_path: Path) -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 60) & echo $!; wait"
    out = tmp_path / "out"
    end = run_program(["sh", "-c", script], cwd=tmp_path, stdout=out, timeout_s=0.5)
    assert end.timed_out
    assert end.wall_s < 20
    assert "time limit" in end.describe()
    assert _wait_gone(int(out.read_text()))


def test_kill_9_of_the_parent_takes_the_program_with_it(tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        from pathlib import Path
        from pyacemaker.process import run_program
        run_program(["sh", "-c", "echo $$; exec sleep 60"], cwd=Path({str(tmp_path)!r}),
                    stdout=Path({str(tmp_path / "out")!r}), timeout_s=None)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    out = tmp_path / "out"
    while not (out.exists() and out.read_text().strip()):
        time.sleep(0.05)
    program = int(out.read_text())
    assert _alive(program)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert _wait_gone(program)


def test_stop_ends_what_runs_and_lets_nothing_start(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            run_program(["sleep", "60"], cwd=tmp_path, stdout=tmp_path / "o", timeout_s=None)
        except StoppedError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    try:
        stop_programs()
        thread.join(10)
        assert len(caught) == 1
        with pytest.raises(StoppedError):
            run_program(["true"], cwd=tmp_path, stdout=tmp_path / "o", timeout_s=None)
    finally:
        allow_programs()
    assert run_program(["true"], cwd=tmp_path, stdout=tmp_path / "o", timeout_s=5).returncode == 0
