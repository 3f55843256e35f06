"""`esper serve`, `blueprints`, `kernels`, `forge`, `lineage`, `library` and `events`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from esper.terminal import JsonFlag, refuse, say, stdout, warn

if TYPE_CHECKING:
    from esper.urza.library import Library
    from esper.urza.records import BlueprintRecord, KernelRecord

LibraryOption = Annotated[
    str | None,
    typer.Option(
        "--library",
        metavar="URL",
        help="A file of SQLite or postgresql://...; by default $ESPER_LIBRARY, else your own.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The artifacts: a folder or s3://BUCKET/PREFIX; by default $ESPER_STORE, else a "
        "folder beside the library's file.",
    ),
]

blueprints_app = typer.Typer(help="Branches written down as data.", invoke_without_command=True)
kernels_app = typer.Typer(
    help="Blueprints made for a place, checked and measured.", invoke_without_command=True
)
library_app = typer.Typer(help="The library's tables.", no_args_is_help=True)


@contextlib.contextmanager
def _library(url: str | None, store: str | None) -> Iterator[Library]:
    from esper.tezzeret.ir import BlueprintError  # noqa: PLC0415 - torch only when it is needed
    from esper.tezzeret.module import KernelError  # noqa: PLC0415
    from esper.urza.library import Library, LibraryError, NotThereError  # noqa: PLC0415

    try:
        yield Library.open(url, store)
    except (BlueprintError, NotThereError) as error:
        raise refuse(str(error)) from error
    except (LibraryError, KernelError) as error:
        raise refuse(str(error), code=1) from error


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(blueprints_app, name="blueprints")
    app.add_typer(kernels_app, name="kernels")
    app.add_typer(library_app, name="library")
    app.command()(serve)
    app.command()(forge)
    app.command()(lineage)
    app.command()(events)


def serve(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = 8321,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the token that callers must give; or $ESPER_TOKEN. Needed "
            "wherever other machines can reach the service."
        ),
    ] = None,
    library: LibraryOption = None,
    store: StoreOption = None,
) -> None:
    """Serve the library over HTTP: /api/v1/blueprints, /kernels, /kernels/query and more.

    The calls are described by the service itself, at /openapi.json.
    """
    try:
        import uvicorn  # noqa: PLC0415

        from esper.urza.service import is_private, make_app  # noqa: PLC0415
    except ImportError:
        raise refuse("serving needs `pip install pyacemaker-esper[services]`") from None
    token = os.environ.get("ESPER_TOKEN") or None
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise refuse(f"--token-file {token_file}: cannot be read ({error})") from None
        if not token:
            raise refuse(f"--token-file {token_file}: is empty")
    if token is None and not is_private(host):
        raise refuse(
            f"--host {host}: other machines could write to the library; give --token-file FILE or "
            "set ESPER_TOKEN, or listen at 127.0.0.1"
        )
    with _library(library, store) as opened:
        app = make_app(opened, token)
        try:
            listener = socket.create_server((host, port), family=_family(host))
        except OSError as error:
            raise refuse(f"--host {host} --port {port}: {error.strerror}", code=1) from None
        with listener:
            shown = f"[{host}]" if ":" in host else host
            say(
                f"serving {opened.engine.url.render_as_string()} at http://{shown}:{listener.getsockname()[1]}/api/v1"
            )
            config = uvicorn.Config(app, log_level="warning", access_log=False)
            uvicorn.Server(config).run(sockets=[listener])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


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
    from esper.tezzeret.builtin import BUILTIN  # noqa: PLC0415
    from esper.tezzeret.ir import blueprint_id  # noqa: PLC0415

    with _library(library, store) as opened:
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
    from esper.tezzeret.ir import load_blueprint  # noqa: PLC0415

    with _library(*context.obj) as opened:
        record = opened.add_blueprint(load_blueprint(file), parent)
    typer.echo(_dump(record) if as_json else f"{record.id} {record.name}")


@blueprints_app.command("show")
def show_blueprint(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="A name or an id.", metavar="BLUEPRINT")],
) -> None:
    """Print a blueprint as JSON, as `add` reads it."""
    with _library(*context.obj) as opened:
        ir = _find(opened, which).ir
    typer.echo(ir.model_dump_json(indent=1))


@kernels_app.callback()
def kernels(
    context: typer.Context,
    blueprint: Annotated[str | None, typer.Option(help="Of this blueprint.")] = None,
    features: Annotated[int | None, typer.Option(min=1, help="Of the site.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Of the branch.")] = None,
    max_parameters: Annotated[int | None, typer.Option(min=0)] = None,
    max_forward_us: Annotated[float | None, typer.Option(min=0.001)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed a check.")] = False,
    library: LibraryOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List kernels, the fastest first."""
    context.obj = (library, store)
    if context.invoked_subcommand is not None:
        return
    from esper.urza.records import KernelQuery  # noqa: PLC0415

    query = KernelQuery(
        blueprint=blueprint,
        features=features,
        width=width,
        max_parameters=max_parameters,
        max_forward_us=max_forward_us,
        status="failed" if failed else "ready",
    )
    with _library(library, store) as opened:
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
    with _library(*context.obj) as opened:
        typer.echo(_dump(opened.kernel(key)))


@kernels_app.command("mend")
def mend_kernel(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Its id.", metavar="KERNEL")],
) -> None:
    """Make a kernel's artifacts anew, where they are lost or damaged."""
    with _library(*context.obj) as opened:
        typer.echo(_dump(opened.mend(key)))


def forge(
    blueprint: Annotated[
        str | None, typer.Argument(help="A blueprint's name or id.", metavar="BLUEPRINT")
    ] = None,
    features: Annotated[int, typer.Option(min=1, max=16384, help="Of the site.")] = 64,
    width: Annotated[int, typer.Option(min=1, max=16384, help="Of the branch.")] = 16,
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
    from esper.tezzeret.forge import Target  # noqa: PLC0415
    from esper.urza.jobs import work_once  # noqa: PLC0415

    made: list[KernelRecord] = []
    with _library(library, store) as opened:
        if blueprint is not None:
            shapes: dict[str, dict[str, int]] = {
                "vector": {},
                "image": {"axis": 1, "spatial": 2},
                "sequence": {"heads": 4 if features % 4 == 0 else 1},
            }
            target = Target(features=features, width=width, **shapes[site])
            made.append(opened.get_or_forge(_find(opened, blueprint).ir, target))
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


def _find(library: Library, which: str) -> BlueprintRecord:
    """Return a blueprint of the library; one that comes with esper is put there first."""
    from esper.tezzeret.builtin import BUILTIN  # noqa: PLC0415
    from esper.urza.library import NotThereError  # noqa: PLC0415

    try:
        return library.blueprint(which)
    except NotThereError:
        if which not in BUILTIN:
            raise
        return library.add_blueprint(BUILTIN[which])


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


def lineage(
    which: Annotated[str, typer.Argument(help="A blueprint, kernel or graft.", metavar="ID")],
    library: LibraryOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what something in the library comes from, and what grew of it."""
    with _library(library, store) as opened:
        found = opened.lineage(which)
    if as_json:
        typer.echo(_dump(found))
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


@library_app.command()
def upgrade(library: LibraryOption = None) -> None:
    """Bring the tables of a library up to date with this version of esper."""
    from esper.urza import schema  # noqa: PLC0415
    from esper.urza.database import LibraryError, connect, data_folder, told  # noqa: PLC0415

    url = library or os.environ.get("ESPER_LIBRARY") or str(data_folder() / "library.db")
    try:
        engine = connect(url)
        with told(engine):
            schema.upgrade(engine)
    except LibraryError as error:
        raise refuse(str(error), code=1) from error
    say(f"{engine.url.render_as_string()} is at revision {schema.newest()}")


def events(
    bus: Annotated[
        str, typer.Option("--bus", metavar="URL", help="redis://HOST:PORT or unix:///SOCKET")
    ],
    topic: Annotated[str, typer.Option(help="training or library.")] = "training",
    dead: Annotated[bool, typer.Option("--dead", help="Dead letters instead.")] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="With --dead: send them all again.")
    ] = False,
) -> None:
    """Print what was told on a bus, one JSON object a line; nobody's reading is disturbed."""
    from esper.oona.base import BusError  # noqa: PLC0415
    from esper.oona.open import open_bus  # noqa: PLC0415

    try:
        opened = open_bus(bus)
        if not dead:
            for position, envelope in opened.replay(topic):
                typer.echo(json.dumps({"position": position, **envelope.model_dump(mode="json")}))
            return
        for letter in opened.dead_letters(topic):
            typer.echo(json.dumps(letter.__dict__))
            if resend:
                opened.resend(letter)
    except BusError as error:
        warn(f"--bus {bus}: {error}")
        raise typer.Exit(1) from error


def _dump(record: Any) -> str:
    return str(record.model_dump_json(indent=1))
