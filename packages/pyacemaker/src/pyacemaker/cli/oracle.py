"""`pyacemaker oracle`: look at what a quantum-mechanical code did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pyacemaker.cli.words import JsonFlag, refuse

oracle_app = typer.Typer(
    help="Look at the runs of the quantum-mechanical code.", no_args_is_help=True
)


@oracle_app.callback()
def _group() -> None:
    """Look at the runs of the quantum-mechanical code."""


@oracle_app.command(
    epilog="Exit codes: 0 the run is good; 1 it failed; 2 there is no such file or folder."
)
def diagnose(
    path: Annotated[
        Path,
        typer.Argument(
            help="An output of Quantum ESPRESSO, or a folder that holds one.", metavar="PATH"
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Tell in one line what failed in a run of Quantum ESPRESSO, and what would be done.

    The class of failure comes first (ok for a good run); docs/healing.md lists them all. In a
    folder, the output is found by its content, and CRASH, standard error, the input and the XML
    beside it are read too.
    """
    from pyacemaker.oracle.espresso.healing.diagnose import diagnose_path
    from pyacemaker.oracle.espresso.healing.plan import plan_for

    try:
        diagnosis, file = diagnose_path(path)
    except FileNotFoundError:
        raise refuse(f"{path}: there is no such file or folder") from None
    except OSError as error:
        raise refuse(f"{path} cannot be read: {error.strerror}") from None
    plan = plan_for(path, diagnosis)
    if as_json:
        typer.echo(json.dumps(diagnosis.as_dict(file) | plan.as_dict()))
    else:
        line = f"{diagnosis.name}: {diagnosis.evidence}"
        if not diagnosis.ok:
            line += f" -> {plan.words or diagnosis.remedy}"
        plain = " ".join(line.encode("ascii", "backslashreplace").decode().split())
        typer.echo("".join(c if c.isprintable() else "?" for c in plain))
    raise typer.Exit(0 if diagnosis.ok else 1)
