"""A campaign's status as a person reads it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pyacemaker.cli.watch import duration

_COLOURS = {"converged": "green", "running": "cyan", "budget": "yellow", "failed": "red"}


def print_status(console: Console, status: dict[str, Any]) -> None:
    """Print what `status_of` found."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    name = "-".join(status["elements"])
    head = Text.assemble(
        (f"{name}: ", "bold"), (status["status"], _COLOURS.get(status["status"], ""))
    )
    table.add_row("campaign", head)
    if status["reason"]:
        table.add_row("why", status["reason"])
    if status["step"]:
        since = duration(status["step_since_s"])
        where = (
            f"iteration {status['step_iteration']}" if status["step_iteration"] else "preparation"
        )
        share = f", {status['done']} of {status['total']}" if status["total"] else ""
        table.add_row("now", f"{where}, {status['step_words']} for {since}{share}")
    labels = f"{status['labels']} of at most {status['label_budget']}"
    if status["failed_labels"]:
        labels += f", {status['failed_labels']} failed"
    table.add_row("labels", labels)
    if status["energy_rmse_eV_per_atom"] is not None:
        energy, force = status["energy_rmse_eV_per_atom"], status["force_rmse_eV_per_A"]
        table.add_row("test error", f"{1000 * energy:.1f} meV/atom, {force:.3f} eV/Å")
    for iteration in status["iterations"]:
        bad = [check["name"] for check in iteration["checks"] if not check["passed"]]
        verdict = (
            Text("go", "green") if iteration["passed"] else Text(f"no-go: {', '.join(bad)}", "red")
        )
        table.add_row(f"iteration {iteration['iteration']}", verdict)
    table.add_row("time", f"{duration(status['wall_s'])} in finished steps")
    if status["last"]:
        table.add_row("last", status["last"])
    console.print(table)
