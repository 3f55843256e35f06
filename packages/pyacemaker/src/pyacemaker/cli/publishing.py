"""`pyacemaker publish`: a certified potential becomes a rootstock model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from pyacemaker.cli.words import JsonFlag, QuietFlag, progress, refuse
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
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Install a certified potential into a rootstock root, as the model ace-NAME or esper-NAME.

    It is esper-NAME where the trainer was esper, ace-NAME otherwise. A potential that did not
    pass every gate is refused (exit code 1).

    pyacemaker publish runs/silicon --root models

    Then, in any ASE script: RootstockCalculator(root="models", model="ace-silicon").
    """
    from pyacemaker.campaign.publish import PublishError
    from pyacemaker.campaign.publish import publish as install

    if root is None:
        raise refuse(f"name the rootstock root with --root, or in {ROOT_VARIABLE}")
    if not workdir.is_dir():
        raise refuse(f"{workdir}: there is no such folder; name a campaign's work directory")
    try:
        done = install(workdir, root, progress(quiet=quiet), name=name, replace=replace)
    except PublishError as error:
        raise refuse(str(error), code=1) from error
    if as_json:
        typer.echo(json.dumps({"model": done.model, "root": os.fspath(done.root)}))
    else:
        typer.echo(f"published {done.model} in {done.root}; in any ASE script:")
        typer.echo(f'  RootstockCalculator(root="{done.root}", model="{done.model}")')
