"""The library over HTTP: blueprints, kernels, and work for forges."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

import esper
from esper.tezzeret.forge import PROGRAM, WEIGHTS, Target
from esper.tezzeret.ir import Blueprint, BlueprintError
from esper.urza import jobs
from esper.urza.library import Library, LibraryError, NotThereError
from esper.urza.records import MOST, BlueprintRecord, Job, KernelQuery, KernelRecord, Lineage

MAX_BODY = 1 << 20
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=MOST, description="How many to pass over.")]
_MEDIA = {PROGRAM: "application/json", WEIGHTS: "application/octet-stream"}


class KernelRequest(BaseModel):
    """A kernel that is wanted: a blueprint in the library (id or name), and for what."""

    model_config = ConfigDict(extra="forbid")

    blueprint: Annotated[str, Field(min_length=1, max_length=64)]
    target: Target


def make_app(library: Library, token: str | None = None) -> FastAPI:
    """Make the service. With a `token` every call under /api needs `Authorization: Bearer`."""

    def allowed(authorization: Annotated[str | None, Header()] = None) -> None:
        given = (authorization or "").encode()
        if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})

    app = FastAPI(
        title="Urza, the library of esper", version=esper.__version__, docs_url=None, redoc_url=None
    )
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(allowed)])

    @app.middleware("http")
    async def _limit(request: Request, call_next: Any) -> Response:
        length = request.headers.get("content-length", "0")
        chunked = "transfer-encoding" in request.headers
        if chunked or not length.isdigit() or int(length) > MAX_BODY:
            return JSONResponse({"detail": f"a body has at most {MAX_BODY} bytes"}, 413)
        response: Response = await call_next(request)
        return response

    @app.exception_handler(NotThereError)
    def _absent(request: Request, error: NotThereError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(LibraryError)
    def _unreachable(request: Request, error: LibraryError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(BlueprintError)
    def _unsound(request: Request, error: BlueprintError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Say whether the database answers."""
        library.blueprints(limit=1)
        return {"status": "ok", "version": esper.__version__}

    @api.post("/blueprints", status_code=201)
    def add_blueprint(blueprint: Blueprint, parent: str | None = None) -> BlueprintRecord:
        """Keep a blueprint; one that computes the same is there once."""
        return library.add_blueprint(blueprint, parent)

    @api.get("/blueprints")
    def list_blueprints(
        name: str | None = None, limit: Limit = 100, offset: Offset = 0
    ) -> list[BlueprintRecord]:
        """List blueprints, oldest first."""
        return library.blueprints(limit, name, offset)

    @api.get("/blueprints/{which}")
    def get_blueprint(which: str) -> BlueprintRecord:
        """Return a blueprint by its id, the beginning of it, or its name."""
        return library.blueprint(which)

    @api.post("/kernels", status_code=202)
    def ask_for_kernel(wanted: KernelRequest) -> Job:
        """Ask for a kernel; a forge makes it (`esper forge`), and the job says how far it is."""
        return jobs.request(library, wanted.blueprint, wanted.target)

    @api.get("/kernels")
    def list_kernels(limit: Limit = 100, offset: Offset = 0) -> list[KernelRecord]:
        """List kernels, newest first, failed ones too."""
        query = KernelQuery(status=None, sort="newest", limit=limit, offset=offset)
        return library.query(query)

    @api.get("/kernels/query")
    def query_kernels(query: Annotated[KernelQuery, Query()]) -> list[KernelRecord]:
        """Find kernels by place, cost, torch and processor."""
        return library.query(query)

    @api.post("/kernels/query")
    def query_kernels_by_body(query: KernelQuery) -> list[KernelRecord]:
        """Find kernels, as GET does, with the query as a JSON body."""
        return library.query(query)

    @api.get("/kernels/{key}")
    def get_kernel(key: str) -> KernelRecord:
        """Return a kernel with its checks, its cost and its artifacts."""
        return library.kernel(key)

    @api.get("/kernels/{key}/artifacts/{name}")
    def get_artifact(key: str, name: str) -> Response:
        """Return an artifact's bytes, compared with their sha256 on the way out."""
        content = library.artifact(key, name)
        return Response(content, media_type=_MEDIA.get(name, "application/octet-stream"))

    @api.get("/jobs")
    def list_jobs(limit: Limit = 100, offset: Offset = 0) -> list[Job]:
        """List jobs, oldest first."""
        return jobs.jobs(library, limit, offset)

    @api.get("/lineage/{which}")
    def get_lineage(which: str) -> Lineage:
        """Return what a blueprint, kernel or graft comes from, and what came of it."""
        return library.lineage(which)

    app.include_router(api)
    return app


def is_private(host: str) -> bool:
    """Say whether a listener at `host` can be reached from this machine only."""
    try:
        found = {ipaddress.ip_address(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        return False
    return bool(found) and all(address.is_loopback for address in found)
