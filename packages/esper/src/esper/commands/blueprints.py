"""`esper blueprints` and `esper lineage`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from esper.commands.library import (
    LibraryOption,
    StoreOption,
    as_text,
    find_blueprint,
    open_library,
)
from esper.terminal import JsonFlag, say, stdout

blueprints_app = typer.Typer(help="Branches written down as data.", invoke_without_command=True)


@blueprints_app.callback()
def blueprints(
    context: typer.Context,
    library: LibraryOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the blueprints of the library, and those that come with esper."""
    context.obj = (library, store)
    if context.invoked_subcommand is not None:
        return
    from esper.tezzeret.builtin import BUILTIN
    from esper.tezzeret.ir import blueprint_id

    with open_library(library, store) as opened:
        found = opened.blueprints()
    rows: list[dict[str, Any]] = [
        {"id": r.id, "name": r.name, "site": r.ir.site, "nodes": len(r.ir.nodes), "builtin": False}
        for r in found
    ]
    known = {row["id"] for row in rows}
    for name, ir in BUILTIN.items():
        if (key := blueprint_id(ir)) not in known:
            rows.append(
                {"id": key, "name": name, "site": ir.site, "nodes": len(ir.nodes), "builtin": True}
            )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("id", "name", "grows at", "nodes", "from")
    for row in rows:
        place = "esper" if row["builtin"] else "library"
        table.add_row(row["id"][:12], row["name"], row["site"], str(row["nodes"]), place)
    stdout.print(table)


@blueprints_app.command("add")
def add_blueprint(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A blueprint as JSON.", metavar="FILE")],
    parent: Annotated[
        str | None, typer.Option(help="The blueprint that it was derived from (name or id).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a blueprint and keep it in the library."""
    from esper.tezzeret.ir import load_blueprint

    with open_library(*context.obj) as opened:
        record = opened.add_blueprint(load_blueprint(file), parent)
    typer.echo(as_text(record) if as_json else f"{record.id} {record.name}")


@blueprints_app.command("show")
def show_blueprint(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="A name or an id.", metavar="BLUEPRINT")],
) -> None:
    """Print a blueprint as JSON, as `add` reads it."""
    with open_library(*context.obj) as opened:
        ir = find_blueprint(opened, which).ir
    typer.echo(ir.model_dump_json(indent=1))


def lineage(
    which: Annotated[str, typer.Argument(help="A blueprint, kernel or graft.", metavar="ID")],
    library: LibraryOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what something in the library comes from, and what grew of it."""
    with open_library(library, store) as opened:
        found = opened.lineage(which)
    if as_json:
        typer.echo(as_text(found))
        return
    for blueprint in found.blueprints:
        of = f" (of {blueprint.parent[:12]})" if blueprint.parent else ""
        say(f"{blueprint.id[:12]} {blueprint.name}{of}")
        for kernel in (k for k in found.kernels if k.blueprint == blueprint.id):
            where = f"{kernel.target.features} features, width {kernel.target.width}"
            say(f"  kernel {kernel.id[:12]} {kernel.status}, {where}")
            for graft in (g for g in found.grafts if g.kernel == kernel.id):
                gain = graft.contribution
                worth = "" if gain is None else f", worth {gain:.4f} nats"
                say(f"    graft {graft.id[:12]} in {graft.run} at {graft.site}{worth}")
