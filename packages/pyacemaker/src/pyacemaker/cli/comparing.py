"""`pyacemaker compare`: two campaigns side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pyacemaker.cli.words import refuse, stdout

if TYPE_CHECKING:
    from pyacemaker.report.comparison import Compared

Directory = Annotated[Path, typer.Argument(help="A campaign's work directory.", metavar="DIR")]


def compare(
    first: Directory,
    second: Directory,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page to write (HTML, one file).")
    ] = Path("comparison.html"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for scripts, and write no page.")
    ] = False,
) -> None:
    """Compare two campaigns: accuracy, cost, physics, settings, and each on the other's tests.

    Nothing in either work directory is changed; both may be running.

    pyacemaker compare runs/a runs/b -o a-against-b.html
    """
    from pyacemaker.campaign.comparison import compare as compare_campaigns
    from pyacemaker.campaign.report_data import UNREADABLE
    from pyacemaker.files import write_whole
    from pyacemaker.report.comparison import as_json as plain
    from pyacemaker.report.render import render_comparison

    try:
        compared = compare_campaigns(first, second)
        if as_json:
            typer.echo(json.dumps(plain(compared), indent=1))
            return
        write_whole(output, render_comparison(compared))
    except UNREADABLE as error:
        raise refuse(str(error)) from error
    print_comparison(stdout, compared)
    typer.echo(output)


def print_comparison(console: Console, compared: Compared) -> None:
    """Print the headline numbers of both, green where the error or the cost is the smaller."""
    from pyacemaker.report.comparison import crossed_rows, number_rows
    from pyacemaker.report.formatting import number
    from pyacemaker.report.summary import VERDICTS

    for letter, name, data in zip("AB", compared.names, compared.campaigns, strict=True):
        verdict = VERDICTS[data.decision][1].lower()
        console.print(
            Text.assemble((f"{letter}  {name}: ", "bold"), verdict, style=""), soft_wrap=True
        )
    for note in compared.notes:
        console.print(Text(f"mind: {note}", style="yellow"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for title in ("A", "B", "B against A"):
        table.add_column(title, justify="right")
    table.add_column("unit")
    for row in number_rows(compared):
        cells = [
            Text(text, "green" if row.better == side else "") for side, text in enumerate(row.texts)
        ]
        table.add_row(row.name, *cells, row.difference, row.unit)
    console.print(table)
    for tested in crossed_rows(compared):
        console.print(
            Text(
                f"{tested['potential']} on the test set of {tested['test_set']} "
                f"({tested['structures']} structures): {number(tested['energy_rmse'])} meV/atom, "
                f"{number(tested['force_rmse'])} meV/Å"
            ),
            soft_wrap=True,
        )
