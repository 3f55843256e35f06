"""What a team runs: `esper serve`, `esper library` and `esper events`."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from esper.commands.library import LibraryOption, StoreOption, open_library
from esper.terminal import refuse, say, warn

library_app = typer.Typer(help="The library's tables.", no_args_is_help=True)


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
        import uvicorn

        from esper.urza.service import is_private, make_app
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
    with open_library(library, store) as opened:
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


@library_app.command()
def upgrade(library: LibraryOption = None) -> None:
    """Bring the tables of a library up to date with this version of esper."""
    from esper.urza import schema
    from esper.urza.database import LibraryError, connect, data_folder, told

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
    from esper.oona.base import BusError
    from esper.oona.open import open_bus

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
