"""The web application of `pyacemaker serve`: a page, a snapshot, and a stream of snapshots."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from pyacemaker.campaign.layout import REPORT
from pyacemaker.campaign.state import StateError
from pyacemaker.live.feed import fingerprint, snapshot

POLL_S = 0.5
COOKIE = "pyacemaker_token"
_ASSETS = {
    "live.js": ("pyacemaker.live", "page/live.js", "text/javascript"),
    "report.css": ("pyacemaker.report", "templates/report.css", "text/css"),
    "live.css": ("pyacemaker.live", "page/live.css", "text/css"),
    "plotly.js": ("pyacemaker.report", "static/plotly-basic.min.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Next = Callable[[Request], Awaitable[Response]]


def live_app(
    workdir: Path,
    *,
    hosts: frozenset[str] | None,
    token: str | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """Return the application that shows the campaign in `workdir`. Every route only reads.

    `hosts` are the names it answers to (lower case, without a port), None for any: on loopback
    this keeps other web sites from reaching it through a name of theirs. With `token` every
    request must carry it: as ``Authorization: Bearer``, as ``?token=`` (the page then keeps it
    in a cookie), or in that cookie. Streams end when `ended` says that the server is to stop.
    """
    app = FastAPI(title="PYACEMAKER", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, go_on: Next) -> Response:
        host = (request.url.hostname or "").lower()
        if hosts is not None and host not in hosts:
            return PlainTextResponse("this name is not served here\n", status_code=421)
        if token is not None and not _carries(request, token):
            text = "open the address that `pyacemaker serve` printed: it carries a token\n"
            return PlainTextResponse(text, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        response = await go_on(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/")
    async def page(request: Request) -> Response:
        if token is not None and "token" in request.query_params:
            # The token leaves the address bar, and with it the history and screenshots.
            response: Response = RedirectResponse("/", status_code=303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        return Response(_packaged("pyacemaker.live", "page/live.html"), media_type="text/html")

    @app.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            return PlainTextResponse("no such file\n", status_code=404)
        package, path, kind = _ASSETS[name]
        return Response(_packaged(package, path), media_type=kind)

    @app.get("/api/status")
    async def status() -> Response:
        try:
            return JSONResponse(await asyncio.to_thread(snapshot, workdir))
        except StateError as error:
            return JSONResponse({"error": str(error)}, status_code=503)

    @app.get("/api/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[ServerSentEvent]:
        async for name, data in changes(workdir, ended):
            yield ServerSentEvent(data=data, event=name)

    @app.get("/report")
    async def report() -> Response:
        path = workdir / REPORT
        if not path.is_file():
            return PlainTextResponse("there is no report yet: no cycle has ended\n", 404)
        # The report brings its own, stricter policy for its inline script.
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": ""})

    return app


async def changes(
    workdir: Path, ended: Callable[[], bool], poll_s: float = POLL_S
) -> AsyncIterator[tuple[str, Any]]:
    """Yield ("campaign", snapshot) now and after every change, ("problem", words) on trouble."""
    known: tuple[object, ...] | None = None
    while not ended():
        found = fingerprint(workdir)
        if found != known:
            known = found
            try:
                yield "campaign", await asyncio.to_thread(snapshot, workdir)
            except StateError as error:
                yield "problem", {"error": str(error)}
        await asyncio.sleep(poll_s)


def _carries(request: Request, token: str) -> bool:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    offered = (bearer, request.query_params.get("token", ""), request.cookies.get(COOKIE, ""))
    return any(hmac.compare_digest(one.encode(), token.encode()) for one in offered)


def _packaged(package: str, path: str) -> str:
    return files(package).joinpath(path).read_text(encoding="utf-8")
