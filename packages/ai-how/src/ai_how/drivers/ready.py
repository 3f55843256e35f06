"""Waiting until slurmctld gives jobs to every node that should take them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.plan.plan import Plan
from ai_how.slurm.commands import NodeState, SlurmError, node_states, resume

_READY_S = 60.0
_SILENT_S = 10.0  # until nodes that do not answer are looked at from within
_GRACE_S = 3.0  # until the process of a node that was asked for is there


def _leave(_: Collection[str]) -> None:
    pass


def _begun(_: str) -> bool:
    return True


def until_ready(
    plan: Plan,
    off: Sequence[str],
    environment: Mapping[str, str],
    say: Say,
    log: Path,
    *,
    check: Callable[[], None] = lambda: None,
    revive: Callable[[Collection[str]], None] = _leave,
    begun: Callable[[str], bool] = _begun,
    limit_s: float = _READY_S,
    pause_s: float = 0.05,
    silent_s: float = _SILENT_S,
) -> None:
    """Wait until every node but `off` takes jobs; nodes that are only down are resumed.

    `check` is called each time round and may raise; `revive` every `silent_s` with the nodes that
    do not answer SLURM, which are all where slurmctld does not. `begun` says whether the slurmd of
    a node is there: of a node that has just lost its power slurmctld still holds that it takes
    jobs. Raises DriverError after `limit_s`.
    """
    wanted = {node.name for node in plan.compute if node.name not in off}
    now = time.monotonic()
    until, look_at = now + limit_s, now + silent_s
    answer, waiting = "slurmctld does not answer", wanted
    silent = everyone = {plan.controller.name, *wanted}
    while time.monotonic() < until:
        check()
        if time.monotonic() > look_at:
            revive(silent)
            look_at = time.monotonic() + silent_s
        try:
            states = node_states(environment)
        except SlurmError as error:
            answer, silent = str(error), everyone
        else:
            late = {n for n in wanted if _takes_jobs(states.get(n)) and not begun(n)}
            waiting = late | {n for n in wanted if not _takes_jobs(states.get(n))}
            if not waiting:
                say(f"{len(wanted)} nodes take jobs")
                return
            down = [n for n in waiting if n in states and states[n].state == "down"]
            if down:
                with contextlib.suppress(SlurmError):  # not registered yet
                    resume(down, environment)
            drained = [n for n in waiting if n in states and _is_drained(states[n])]
            if waiting == set(drained):
                name = drained[0]
                say(f"{name} is drained ({states[name].reason}); it is left as it is")
                return
            silent = late | {n for n in waiting if n not in states or not states[n].responds}
            answer = ", ".join(
                f"slurmd of {n} has not begun" if n in late else _told(n, states.get(n))
                for n in sorted(waiting)[:3]
            )
        time.sleep(pause_s)
    raise DriverError(f"not ready after {limit_s:.0f} s: {answer}; see {log}")


def _takes_jobs(node: NodeState | None) -> bool:
    if node is None or not node.responds:
        return False
    return node.state in {"idle", "mixed", "allocated", "completing"}


def _told(name: str, node: NodeState | None) -> str:
    if node is None:
        return f"{name} is unknown"
    answers = "" if node.responds else " and does not respond"
    return f"{name} is {node.state}{answers} {node.reason}".strip()


def _is_drained(node: NodeState) -> bool:
    return node.state in {"drained", "draining"}


def refuse_ended(
    began: float, names: Sequence[str], running: Callable[[], Container[str]], log: Path
) -> None:
    """Raise DriverError where a node started at `began` (monotonic, s) has ended.

    `running` returns the nodes that run, `log` is the folder of their consoles.
    """
    if time.monotonic() - began < _GRACE_S:
        return
    live = running()
    for name in names:
        if name not in live:
            console = log / f"console-{name}.log"
            lines = console.read_text(errors="replace").split("\n") if console.exists() else []
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            raise DriverError(f"{name} ended while it booted: {last}; see {console}")
