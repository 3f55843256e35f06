"""Images: the root trees that nodes of the driver `nspawn` boot from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ai_how.cli.base import JsonFlag, Progress, QuietFlag, refusing, tell

image_app = typer.Typer(
    help="Root trees that nodes boot from: built once, cached, never downloaded by `up` again.",
    no_args_is_help=True,
)


@image_app.command()
def build(
    file: Annotated[
        str | None,
        typer.Argument(help="A cluster's YAML, for its `global.packages`.", metavar="[FILE]"),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Also if it is there already.")] = False,
    quiet: QuietFlag = False,
) -> None:
    """Build the image of a cluster's nodes, from this machine's package sources.

    `up` does so too, if it is not there. It takes some minutes, and is kept in the user's
    cache folder (AI_HOW_CACHE names another).
    """
    from pathlib import Path  # noqa: PLC0415 - quick --help

    from ai_how.config.load import load_cluster  # noqa: PLC0415
    from ai_how.images.build import ensure  # noqa: PLC0415
    from ai_how.images.recipe import recipe  # noqa: PLC0415

    with refusing():
        extra = load_cluster(Path(file)).global_.packages if file else []
        image = ensure(recipe(extra), Progress(quiet=quiet), anew=anew)
    tell(f"{image.key}: {image.size_MiB} MiB in {image.tree}")


@image_app.command("list")
def list_images(as_json: JsonFlag = False) -> None:
    """List the images that are there."""
    from ai_how.images.store import damage, images, in_use  # noqa: PLC0415

    rows = [
        {
            "key": image.key,
            "suite": image.suite,
            "slurm": image.packages.get("slurmctld", ""),
            "size_MiB": image.size_MiB,
            "built": image.built,
            "tree": str(image.tree),
            "in_use": in_use(image.tree),
            "damage": damage(image),
        }
        for image in images()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        state = row["damage"] or ("in use" if row["in_use"] else "whole")
        tell(
            f"{row['key']}  {row['suite']}  slurm {row['slurm']}  {row['size_MiB']} MiB  "
            f"{row['built']}  {state}"
        )
    if not rows:
        tell("no image; `ai-how image build` makes one")


@image_app.command()
def remove(
    key: Annotated[str, typer.Argument(help="As `ai-how image list` shows it.", metavar="KEY")],
) -> None:
    """Remove an image; one that nodes stand on is refused."""
    from ai_how.images import store  # noqa: PLC0415

    with refusing():
        store.remove(key)
    tell(f"{key}: removed")
