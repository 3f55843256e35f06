"""External programs are ended, and say why they failed in one line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from rootstock.build.programs import Log, run
from rootstock.root.errors import BuildError


@pytest.fixture
def log(tmp_path: Path) -> Log:
    found = Log(tmp_path / "logs" / "x.log")
    found.begin()
    return found


def python(log: Log, code: str, timeout_s: float = 60.0) -> str:
    command = [sys.executable, "-c", code]
    return run(
        "the step", command, log=log, timeout_s=timeout_s, env=os.environ, cwd=log.path.parent
    )


def test_output_is_returned_and_kept(log: Log) -> None:
    assert python(log, "print('one')") == "one\n"
    assert python(log, "print('two')") == "two\n"
    assert "one\n" in log.path.read_text()


def test_failures_are_one_line(log: Log) -> None:
    with pytest.raises(BuildError, match=r"the step failed \(exit status 1\): ValueError: bad"):
        python(log, "print('much')\nraise ValueError('bad')")
    with pytest.raises(BuildError, match=r"killed by SIGKILL, perhaps for memory"):
        python(log, "import os; os.kill(os.getpid(), 9)")
    uv = log.path.parent / "uv"
    uv.write_text("#!/bin/sh\necho error sending request for url\nexit 2\n")
    uv.chmod(0o755)
    with pytest.raises(BuildError, match="UV_FIND_LINKS"):
        run("the step", [uv], log=log, timeout_s=5, env={}, cwd=log.path.parent)
    with pytest.raises(BuildError, match="the step failed: /nonexistent"):
        run("the step", ["/nonexistent"], log=log, timeout_s=5, env={}, cwd=log.path.parent)


def test_a_time_limit_ends_it_with_all_it_started(log: Log) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    start = time.monotonic()
    with pytest.raises(BuildError, match="stopped after its time limit of 2 s"):
        python(log, code, timeout_s=2.0)
    assert time.monotonic() - start < 20
    child = int(log.path.read_text().splitlines()[-1])
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
