"""`pyacemaker publish`: a certified potential becomes a rootstock model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pyacemaker.campaign.outcome import EXIT_USAGE
from rootstock.root.layout import ROOT_VARIABLE


def publish(
    workdir: Annotated[
        Path, typer.Argument(help="The work directory of a finished campaign.", metavar="DIR")
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", "-r", help="The rootstock root.", envvar=ROOT_VARIABLE, show_envvar=True
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Publish as ace-NAME (networks: esper-NAME); default: the work directory's name.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a model of that name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Install a certified potential into a rootstock root, as the model ace-NAME or esper-NAME.

    It is esper-NAME where the trainer was esper, ace-NAME otherwise. A potential that did not
    pass every gate is refused (exit code 1).

    pyacemaker publish runs/silicon --root models

    Then, in any ASE script: RootstockCalculator(root="models", model="ace-silicon").
    """
    from pyacemaker.campaign.publish import PublishError  # noqa: PLC0415 - quick --help
    from pyacemaker.campaign.publish import publish as install  # noqa: PLC0415

    told = Console(stderr=True)

    def say(text: str) -> None:
        told.print(text, markup=False, highlight=False, soft_wrap=True)

    if root is None:
        say(f"pyacemaker: name the rootstock root with --root, or in {ROOT_VARIABLE}")
        raise typer.Exit(EXIT_USAGE)
    try:
        done = install(workdir, root, say, name=name, replace=replace)
    except PublishError as error:
        say(f"pyacemaker: {error}")
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps({"model": done.model, "root": os.fspath(done.root)}))
    else:
        typer.echo(f"published {done.model} in {done.root}; in any ASE script:")
        typer.echo(f'  RootstockCalculator(root="{done.root}", model="{done.model}")')
