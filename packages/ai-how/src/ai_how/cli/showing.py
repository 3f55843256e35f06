"""Tables for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ai_how.cli.base import stdout, tell
from ai_how.cluster.lifecycle import Status
from ai_how.slurm.commands import Job

_COLOURS = {"up": "green", "degraded": "red", "down": "yellow", "not made": "yellow"}


def print_status(status: Status) -> None:
    """Print a cluster as it is."""
    head = Text.assemble(
        (f"{status.name}: ", "bold"), (status.condition, _COLOURS[status.condition])
    )
    stdout.print(head)
    if status.nodes:
        table = _table("node", "role", "runs", "slurm", "GPUs")
        for node in status.nodes:
            runs = Text("yes", "green") if node.running else Text("no", "red")
            table.add_row(node.name, node.role, runs, node.slurm or "-", node.gpus or "-")
        stdout.print(table)
    for problem in status.problems:
        stdout.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)


def print_queue(jobs: Sequence[Job]) -> None:
    """Print the queue."""
    table = _table("job", "name", "user", "partition", "state", "elapsed", "nodes", "where or why")
    for job in jobs:
        table.add_row(
            job.id, job.name, job.user, job.partition, job.state, job.elapsed, job.nodes, job.where
        )
    stdout.print(table)


def print_finished(jobs: Sequence[dict[str, str]]) -> None:
    """Print jobs that ended."""
    if not jobs:
        tell("no job has ended")
        return
    table = _table("job", "name", "state", "start", "end", "nodes")
    for job in jobs:
        keys = ("JobId", "Name", "JobState", "StartTime", "EndTime", "NodeList")
        table.add_row(*[_short(job.get(key, "-")) for key in keys])
    stdout.print(table)


def _short(value: str) -> str:
    """Return a time as month, day and clock, so that a row fits; else the value."""
    return f"{value[5:10]} {value[11:]}" if re.fullmatch(r"\d{4}-\d\d-\d\dT\S+", value) else value


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
