"""What the tests let the workers do: importable by other processes, as users' code is."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from pyacemaker.execution.parsl_executor import ParslExecutor
from pyacemaker.oracle.base import OracleError
from pyacemaker.process import run_program


class AwkwardError(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def work(order: str) -> object:
    """Do what the order says."""
    verb, _, rest = order.partition(" ")
    if verb == "sleep":
        time.sleep(float(rest))
        return rest
    if verb == "pid":
        return os.getpid()
    if verb == "fail":
        raise OracleError(rest, {"attempts": [1, 2]})
    if verb == "awkward":
        raise AwkwardError("this", "that")
    if verb == "unpicklable":
        return lambda: rest
    if verb == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if verb == "program":  # writes the program's pid, then runs long
        folder = Path(rest)
        script = (
            f"import os, time; open('{folder}/pid', 'w').write(str(os.getpid())); time.sleep(99)"
        )
        run_program(
            [sys.executable, "-c", script], cwd=folder, stdout=folder / "out", timeout_s=120
        )
    if verb == "mark":
        Path(rest).touch()
    return order


def main() -> None:
    """Run orders in a process of its own; on an interrupt say so and exit 130."""
    kind, *orders = sys.argv[1:]
    try:
        with ParslExecutor(1, "threads" if kind == "threads" else "processes") as executor:
            for outcome in executor.map_unordered(work, orders):
                print(outcome, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
