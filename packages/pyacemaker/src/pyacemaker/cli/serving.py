"""`pyacemaker serve`: a running campaign in a browser."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from pyacemaker.cli.words import refuse, say

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PORT = 8420


def serve(
    workdir: Annotated[Path, typer.Argument(help="A campaign's work directory.", metavar="DIR")],
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="Address to listen on; beyond this machine (0.0.0.0) it asks for a token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one.")
    ] = PORT,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="PYACEMAKER_TOKEN",
            help="What a reader must carry; made up and printed where --host is not loopback.",
        ),
    ] = None,
) -> None:
    """Show a campaign live in a browser. It only reads: Ctrl-C here does not touch the campaign.

    From a laptop to a workstation: ssh -L 8420:localhost:8420 workstation
    """
    from pyacemaker.campaign.state import StateError
    from pyacemaker.campaign.status import status_of

    try:
        status_of(workdir)
    except StateError as error:
        raise refuse(str(error)) from error
    if token is not None and not token.strip():
        raise refuse(
            "an empty --token would let everybody in: leave it out, and on another host than "
            "loopback one is made up"
        )
    loopback = is_loopback(host)
    if token is None and not loopback:
        token = secrets.token_urlsafe(24)
    try:
        listening = listen(host, port)
    except socket.gaierror as error:
        raise refuse(
            f"cannot listen on {host!r}: {error.strerror}; --host takes an address of this machine"
        ) from error
    except OSError as error:
        raise refuse(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; "
            "name another with --port, or let it choose with --port 0"
        ) from error
    number = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else (socket.gethostname() if host == "0.0.0.0" else host)  # noqa: S104
    address = f"http://{name}:{number}/" + (f"?token={quote(token, safe='')}" if token else "")
    say(f"{workdir} at {address}")
    say("Ctrl-C ends this page; the campaign is not touched.")
    run(workdir, listening, _LOOPBACK_NAMES | {host} if loopback else None, token)


def run(
    workdir: Path, listening: socket.socket, hosts: frozenset[str] | None, token: str | None
) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import uvicorn

    from pyacemaker.live.app import live_app

    config = uvicorn.Config(
        live_app(workdir, hosts=hosts, token=token, ended=lambda: server.should_exit),
        log_level="warning",
        timeout_graceful_shutdown=5,  # streams end by themselves; a reader that hangs must not
        server_header=False,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return


def is_loopback(host: str) -> bool:
    """Say whether `host` can be reached from this machine only."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError where the port is taken or the name is unknown."""
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(64)  # who opens the address as soon as it is printed waits, and is served
    except OSError:
        made.close()
        raise
    return made
