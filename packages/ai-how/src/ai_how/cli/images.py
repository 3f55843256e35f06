"""Images: the root trees, and the disks made of them, that nodes boot from."""

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
        typer.Argument(help="A cluster's YAML, for its `global.packages`.", metavar="FILE"),
    ] = None,
    guest: Annotated[
        bool,
        typer.Option("--guest", help="For virtual machines (driver libvirt): kernel and disk too."),
    ] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Also if it is there already.")] = False,
    quiet: QuietFlag = False,
) -> None:
    """Build the image of a cluster's nodes, from this machine's package sources.

    `up` does so too, if it is not there. It takes some minutes, and is kept in the user's
    cache folder (AI_HOW_CACHE names another).
    """
    from pathlib import Path

    from ai_how.config.load import load_cluster
    from ai_how.images.build import ensure
    from ai_how.images.disk import ensure_disk
    from ai_how.images.recipe import recipe

    with refusing():
        told = load_cluster(Path(file)).global_ if file else None
        guest = guest or (told is not None and told.driver == "libvirt")
        say = Progress(quiet=quiet)
        image = ensure(recipe(told.packages if told else [], guest=guest), say, anew=anew)
        if guest:
            tell(f"{image.key}: {ensure_disk(image, say).base}")
    tell(f"{image.key}: {image.size_MiB} MiB in {image.tree}")


@image_app.command()
def packer(
    folder: Annotated[str, typer.Argument(help="Folder to write.", metavar="FOLDER")],
    file: Annotated[
        str | None,
        typer.Argument(help="A cluster's YAML, for its `global.packages`.", metavar="FILE"),
    ] = None,
    quiet: QuietFlag = False,
) -> None:
    """Write a Packer template that lays a script of yours over the disk of virtual machines.

    Edit layer.sh, run `packer build layer.json` in the folder, and name what comes out as
    `global.disk` of a cluster file (driver libvirt).
    """
    from pathlib import Path

    from ai_how.config.load import load_cluster
    from ai_how.drivers.libvirt.acceleration import acceleration
    from ai_how.drivers.libvirt.packer import RESULT, SCRIPT, TEMPLATE, write_layer
    from ai_how.images.build import ensure
    from ai_how.images.disk import ensure_disk
    from ai_how.images.recipe import recipe

    with refusing():
        extra = load_cluster(Path(file)).global_.packages if file else []
        say = Progress(quiet=quiet)
        disk = ensure_disk(ensure(recipe(extra, guest=True), say), say)
        write_layer(disk, Path(folder), acceleration(disk.kernel))
    tell(f"edit {folder}/{SCRIPT}; then: packer build {folder}/{TEMPLATE}")
    tell(f"and in a cluster file, below global: disk: {Path(folder, RESULT).absolute()}")


@image_app.command("list")
def list_images(as_json: JsonFlag = False) -> None:
    """List the images that are there."""
    from ai_how.images.disk import disk_damage, find_disk
    from ai_how.images.store import damage, folder_of, images, in_use

    disks = {image.key: find_disk(image.key) for image in images()}

    rows = [
        {
            "key": image.key,
            "suite": image.suite,
            "slurm": image.packages.get("slurmctld", ""),
            "size_MiB": image.size_MiB,
            "built": image.built,
            "tree": str(image.tree),
            "disk": str(disk.base) if (disk := disks[image.key]) else None,
            "in_use": in_use(image.tree) or in_use(folder_of(image.key)),
            "damage": damage(image) or (disk_damage(disk) if disk else None),
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
            f"{row['built']}  {state}{', with a disk for virtual machines' if row['disk'] else ''}"
        )
    if not rows:
        tell("no image; `ai-how image build` makes one")


@image_app.command()
def remove(
    key: Annotated[str, typer.Argument(help="As `ai-how image list` shows it.", metavar="KEY")],
) -> None:
    """Remove an image; one that nodes stand on is refused."""
    from ai_how.images import store

    with refusing():
        store.remove(key)
    tell(f"{key}: removed")
