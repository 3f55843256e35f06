"""`esper kernels` and `esper forge`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from esper.commands.library import (
    LibraryOption,
    StoreOption,
    as_text,
    find_blueprint,
    open_library,
)
from esper.terminal import JsonFlag, refuse, say, stdout

if TYPE_CHECKING:
    from esper.urza.records import KernelRecord

kernels_app = typer.Typer(
    help="Blueprints made for a place, checked and measured.", invoke_without_command=True
)


@kernels_app.callback()
def kernels(
    context: typer.Context,
    blueprint: Annotated[
        str | None, typer.Option(help="Those of this blueprint (name or id).")
    ] = None,
    features: Annotated[
        int | None, typer.Option(min=1, help="Those for this many features.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Those of this width.")] = None,
    max_parameters: Annotated[
        int | None, typer.Option(min=0, help="Those with no more parameters than this.")
    ] = None,
    max_forward_us: Annotated[
        float | None, typer.Option(min=0.001, help="Those no slower than this, in microseconds.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed a check.")] = False,
    library: LibraryOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List kernels, the fastest first."""
    context.obj = (library, store)
    if context.invoked_subcommand is not None:
        return
    from esper.urza.records import KernelQuery

    query = KernelQuery(
        blueprint=blueprint,
        features=features,
        width=width,
        max_parameters=max_parameters,
        max_forward_us=max_forward_us,
        status="failed" if failed else "ready",
    )
    with open_library(library, store) as opened:
        found = opened.query(query)
    if as_json:
        typer.echo(json.dumps([r.model_dump(mode="json") for r in found], indent=1))
        return
    table = Table("id", "blueprint", "features", "width", "parameters", "forward (us)", "made for")
    for r in found:
        table.add_row(
            r.id[:12],
            r.blueprint[:12],
            str(r.target.features),
            str(r.target.width),
            str(r.cost.parameters) if r.cost else "-",
            f"{r.cost.forward_us:.1f}" if r.cost else "-",
            f"torch {r.torch}, {r.isa}",
        )
    stdout.print(table)


@kernels_app.command("show")
def show_kernel(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Its id.", metavar="KERNEL")],
) -> None:
    """Print a kernel as JSON: target, checks, cost, artifacts."""
    with open_library(*context.obj) as opened:
        typer.echo(as_text(opened.kernel(key)))


@kernels_app.command("mend")
def mend_kernel(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Its id.", metavar="KERNEL")],
) -> None:
    """Make a kernel's artifacts anew, where they are lost or damaged."""
    with open_library(*context.obj) as opened:
        typer.echo(as_text(opened.mend(key)))


def forge(
    blueprint: Annotated[
        str | None, typer.Argument(help="A blueprint's name or id.", metavar="BLUEPRINT")
    ] = None,
    features: Annotated[int, typer.Option(min=1, max=16384, help="Features at the site.")] = 64,
    width: Annotated[int, typer.Option(min=1, max=16384, help="Width of the branch.")] = 16,
    site: Annotated[
        Literal["vector", "image", "sequence"], typer.Option(help="What the site puts out.")
    ] = "vector",
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Work on what was asked for, until nothing is left.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With --jobs: wait for more, until Ctrl-C.")
    ] = False,
    library: LibraryOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a kernel: module, export, checks, measurement, library.

    Exits 1 if the blueprint fails a check; the kernel is kept with the reason.
    """
    if (blueprint is None) is not jobs:
        raise refuse("name a BLUEPRINT, or --jobs")
    from esper.tezzeret.forge import Target
    from esper.urza.jobs import work_once

    made: list[KernelRecord] = []
    with open_library(library, store) as opened:
        if blueprint is not None:
            shapes: dict[str, dict[str, int]] = {
                "vector": {},
                "image": {"axis": 1, "spatial": 2},
                "sequence": {"heads": 4 if features % 4 == 0 else 1},
            }
            target = Target(features=features, width=width, **shapes[site])
            made.append(opened.get_or_forge(find_blueprint(opened, blueprint).ir, target))
        worker = f"{socket.gethostname()}-{os.getpid()}"
        with contextlib.suppress(KeyboardInterrupt):
            while jobs:
                if (record := work_once(opened, worker)) is not None:
                    made.append(record)
                elif wait:
                    time.sleep(1)
                else:
                    break
    if as_json:
        typer.echo(json.dumps([r.model_dump(mode="json") for r in made], indent=1))
    else:
        for record in made:
            _say_kernel(record)
    if any(record.status == "failed" for record in made):
        raise typer.Exit(1)


def _say_kernel(record: KernelRecord) -> None:
    say(f"{record.id} {record.status}")
    for check in record.checks:
        say(f"  {'ok    ' if check.passed else 'FAILED'} {check.name}: {check.found}")
    if record.cost:
        say(
            f"  forward {record.cost.forward_us:.1f} us at {record.cost.shape}, "
            f"{record.cost.parameters} parameters, {record.cost.saved_bytes} bytes kept for the "
            "backward pass"
        )
