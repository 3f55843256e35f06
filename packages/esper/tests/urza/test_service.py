"""The service, as a program in another language would use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.forge import PROGRAM, WEIGHTS, Target
from esper.tezzeret.module import weights_from_bytes
from esper.urza import jobs
from esper.urza.library import Library
from esper.urza.service import MAX_BODY, is_private, make_app

API = "/api/v1"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.open(str(tmp_path / "l.db"))


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(make_app(library)) as made:
        yield made


def test_from_a_blueprint_to_its_kernel_over_http(client: TestClient, library: Library) -> None:
    ir = BUILTIN["mlp"].model_dump(mode="json")
    added = client.post(f"{API}/blueprints", json=ir)
    assert added.status_code == 201
    key = added.json()["id"]
    assert client.get(f"{API}/blueprints").json() == [added.json()]
    assert client.get(f"{API}/blueprints/mlp").json()["ir"]["nodes"] == ir["nodes"]
    wanted = {"blueprint": "mlp", "target": {"features": 4, "width": 2}}
    job = client.post(f"{API}/kernels", json=wanted)
    assert (job.status_code, job.json()["state"]) == (202, "queued")
    assert client.get(f"{API}/kernels/query", params={"features": 4}).json() == []
    jobs.work_once(library, "forge")
    assert client.get(f"{API}/jobs").json()[0]["state"] == "done"
    (kernel,) = client.get(f"{API}/kernels/query", params={"features": 4}).json()
    assert kernel["id"] == job.json()["kernel"]
    assert client.post(f"{API}/kernels/query", json={"features": 4}).json() == [kernel]
    assert client.get(f"{API}/kernels").json() == [kernel]
    assert client.get(f"{API}/kernels/{kernel['id']}").json() == kernel
    assert {a["name"] for a in kernel["artifacts"]} == {PROGRAM, WEIGHTS}
    weights = client.get(f"{API}/kernels/{kernel['id']}/artifacts/{WEIGHTS}")
    assert set(weights_from_bytes(weights.content)) == {
        f"nodes.{n}.{p}" for n in ("enter", "leave") for p in ("weight", "bias")
    }
    lineage = client.get(f"{API}/lineage/{kernel['id']}").json()
    assert [b["id"] for b in lineage["blueprints"]] == [key]
    assert client.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/blueprints/none", None, 404),
        ("GET", "/kernels/none", None, 404),
        ("GET", "/kernels/none/artifacts/weights.safetensors", None, 404),
        ("POST", "/blueprints", {"name": "x"}, 422),
        ("POST", "/kernels", {"blueprint": "none", "target": {"features": 4}}, 404),
        ("POST", "/kernels", {"blueprint": "none", "target": {"features": 0}}, 422),
        ("GET", "/kernels/query?feature=4", None, 422),
        ("GET", "/blueprints?limit=0", None, 422),
        ("GET", "/blueprints?offset=-1", None, 422),
        ("GET", f"/kernels?offset={2**70}", None, 422),
        ("GET", f"/kernels/query?features={2**70}", None, 422),
    ],
)
def test_what_is_wrong_has_its_status(
    client: TestClient, method: str, path: str, body: object, status: int
) -> None:
    answer = client.request(method, API + path, json=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_lists_come_in_pages(client: TestClient) -> None:
    for blueprint in BUILTIN.values():
        ir = blueprint.model_dump(mode="json")
        assert client.post(f"{API}/blueprints", json=ir).status_code == 201
    seen = []
    for offset in range(0, len(BUILTIN) + 2, 2):
        page = client.get(f"{API}/blueprints", params={"limit": 2, "offset": offset}).json()
        assert len(page) == max(0, min(2, len(BUILTIN) - offset))
        seen += [blueprint["name"] for blueprint in page]
    assert sorted(seen) == sorted(BUILTIN)


def test_bodies_have_a_limit(client: TestClient) -> None:
    assert client.post(f"{API}/blueprints", content=b" " * (MAX_BODY + 1)).status_code == 413
    parts = iter([b"{}"])
    assert client.post(f"{API}/blueprints", content=parts).status_code == 413


def test_a_damaged_artifact_is_not_given_out(client: TestClient, library: Library) -> None:
    kernel = library.get_or_forge(BUILTIN["mlp"], Target(features=4, width=2))
    for artifact in kernel.artifacts:
        folder = Path(f"{library.engine.url.database}.artifacts")
        (folder / artifact.sha256[:2] / artifact.sha256).write_bytes(b"x")
        answer = client.get(f"{API}/kernels/{kernel.id}/artifacts/{artifact.name}")
        assert answer.status_code == 503
        assert "damaged" in answer.json()["detail"]


def test_a_token_guards_every_call(library: Library) -> None:
    with TestClient(make_app(library, "secret")) as client:
        assert client.get(f"{API}/blueprints").status_code == 401
        wrong = {"Authorization": "Bearer secre"}
        assert client.get(f"{API}/blueprints", headers=wrong).status_code == 401
        right = {"Authorization": "Bearer secret"}
        assert client.get(f"{API}/blueprints", headers=right).status_code == 200
        assert client.get("/health").status_code == 200


def test_private_places() -> None:
    assert is_private("127.0.0.1")
    assert is_private("::1")
    assert not is_private("0.0.0.0")


def test_serve_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "esper.cli", "serve", "--port", "0"]
    environment = {**os.environ, "ESPER_LIBRARY": str(tmp_path / "s.db")}
    open_wide = subprocess.run(
        [*command, "--host", "0.0.0.0"],
        env=environment, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert open_wide.returncode == 2
    assert "--token-file" in open_wide.stderr
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        address = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{address}/blueprints", timeout=30) as answer:
            assert json.load(answer) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, -signal.SIGTERM}
