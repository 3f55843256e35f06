"""The library, on SQLite with a folder and on PostgreSQL with S3: one contract."""

from __future__ import annotations

import multiprocessing
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from esper.kasmina.blueprints import SiteShape
from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.forge import WEIGHTS, Target, forge
from esper.tezzeret.ir import parse_blueprint
from esper.tezzeret.module import build_seeded, weights_to_bytes
from esper.urza import jobs, schema
from esper.urza.database import connect
from esper.urza.library import Library, LibraryError, NotThereError
from esper.urza.records import KernelQuery
from esper.urza.store import FolderStore, StoreError, open_store
from esper.urza.tables import Base

TARGET = Target(features=4, width=2)
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.real)]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/library.db"
    server = request.getfixturevalue("postgres_server")
    return str(server.create(uuid.uuid4().hex))


@pytest.fixture
def library(url: str, tmp_path: Path) -> Iterator[Library]:
    opened = Library.open(url, str(tmp_path / "artifacts"))
    yield opened
    opened.engine.dispose()


def child(width: str) -> Any:
    value = BUILTIN["mlp"].model_dump(mode="json")
    value["name"] = "child"
    value["nodes"][0]["out"] = width
    return parse_blueprint(value)


def test_blueprints_are_there_once_and_found_by_id_name_or_prefix(library: Library) -> None:
    first = library.add_blueprint(BUILTIN["mlp"])
    assert library.add_blueprint(BUILTIN["mlp"]) == first
    second = library.add_blueprint(child("2*width"), parent="mlp")
    assert second.parent == first.id
    assert [b.id for b in library.blueprints()] == [first.id, second.id]
    for which in (second.id, second.id[:8], "child"):
        assert library.blueprint(which) == second
    with pytest.raises(NotThereError, match=r"no blueprint 'chid'; there are child, mlp"):
        library.blueprint("chid")
    with pytest.raises(NotThereError):
        library.add_blueprint(BUILTIN["gated"], parent="nobody")


def test_kernels_are_kept_queried_and_loaded(library: Library) -> None:
    small = library.get_or_forge(BUILTIN["mlp"], TARGET)
    large = library.get_or_forge(BUILTIN["gated"], Target(features=4, width=8))
    failed = library.add_kernel(forge(BUILTIN["conv3x3"], TARGET))
    assert library.get_or_forge(BUILTIN["mlp"], TARGET) == small
    assert (small.status, failed.status, failed.artifacts) == ("ready", "failed", [])
    by_size = library.query(KernelQuery(features=4, sort="parameters"))
    assert [k.id for k in by_size] == [small.id, large.id]
    assert [k.id for k in library.query(KernelQuery(blueprint="gated"))] == [large.id]
    assert small.cost is not None
    few = library.query(KernelQuery(max_parameters=small.cost.parameters))
    assert [k.id for k in few] == [small.id]
    assert library.query(KernelQuery(isa="no-such")) == []
    assert [k.id for k in library.query(KernelQuery(status="failed"))] == [failed.id]
    module = library.load(small.id)
    expected = build_seeded(BUILTIN["mlp"], SiteShape(4), 2, 0)
    for mine, theirs in zip(module.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(LibraryError, match="failed its checks"):
        library.load(failed.id)
    with pytest.raises(NotThereError):
        library.kernel("0" * 64)


def test_a_damaged_or_lost_artifact_is_found_and_made_anew(
    library: Library, tmp_path: Path
) -> None:
    kernel = library.get_or_forge(BUILTIN["mlp"], TARGET)
    (weights,) = [a for a in kernel.artifacts if a.name == WEIGHTS]
    path = tmp_path / "artifacts" / weights.sha256[:2] / weights.sha256
    whole = path.read_bytes()
    for spoil in (lambda: path.write_bytes(whole[:-1] + b"x"), path.unlink):
        spoil()
        with pytest.raises(LibraryError, match=r"damaged|no artifact"):
            library.artifact(kernel.id, WEIGHTS)
        library.load(kernel.id)
        assert path.read_bytes() == whole


def test_grafts_are_kept_once_and_have_a_lineage(library: Library) -> None:
    library.add_blueprint(BUILTIN["mlp"])
    library.add_blueprint(child("3*width"), parent="mlp")
    kernel = library.get_or_forge(child("3*width"), TARGET)
    weights = weights_to_bytes(build_seeded(child("3*width"), SiteShape(4), 2, 5))
    graft = library.add_graft(kernel.id, "run-1", "fc1", weights, contribution=0.25)
    assert library.add_graft(kernel.id, "run-1", "fc1", weights, contribution=0.25) == graft
    later = library.add_graft(kernel.id, "run-2", "fc1", weights, parent=graft.id)
    for which in ("mlp", kernel.id, later.id):
        found = library.lineage(which)
        assert [b.name for b in found.blueprints] == ["mlp", "child"]
        assert [k.id for k in found.kernels] == [kernel.id]
        assert [g.id for g in found.grafts] == [graft.id, later.id]
    assert library.grafts(run="run-1") == [graft]
    with pytest.raises(NotThereError):
        library.add_graft("0" * 64, "r", "s", weights)


def _claim_all(url: str, store: str, name: str, queue: Any) -> None:
    library = Library.open(url, store)
    while (job := jobs.claim(library, name)) is not None:
        queue.put((job.id, name))
        jobs.finish(library, job)
    library.engine.dispose()


def test_every_job_is_claimed_by_one_worker(library: Library, url: str, tmp_path: Path) -> None:
    library.add_blueprint(BUILTIN["mlp"])
    wanted = [jobs.request(library, "mlp", Target(features=n)).id for n in range(1, 41)]
    assert jobs.request(library, "mlp", Target(features=1)).id == wanted[0]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    library.engine.dispose()
    workers = [
        context.Process(target=_claim_all, args=(url, str(tmp_path / "artifacts"), f"w{n}", queue))
        for n in range(3)
    ]
    for worker in workers:
        worker.start()
    claimed = [queue.get(timeout=60) for _ in wanted]
    for worker in workers:
        worker.join(60)
    assert sorted(job for job, _ in claimed) == wanted
    assert {j.state for j in jobs.jobs(library)} == {"done"}


def test_a_worker_that_dies_loses_its_claim_and_a_late_one_changes_nothing(
    library: Library,
) -> None:
    library.add_blueprint(BUILTIN["mlp"])
    jobs.request(library, "mlp", TARGET)
    now = 1000.0
    first = jobs.claim(library, "a", lease_s=10, clock=lambda: now)
    assert first is not None
    assert jobs.claim(library, "b", clock=lambda: now + 9) is None
    second = jobs.claim(library, "b", lease_s=10, clock=lambda: now + 11)
    assert second is not None
    assert (second.id, second.attempts) == (first.id, 2)
    assert not jobs.finish(library, first)
    assert jobs.finish(library, second)
    (job,) = jobs.jobs(library)
    assert (job.state, job.worker) == ("done", "b")


def test_a_job_that_kills_its_workers_is_given_up_and_can_be_asked_for_again(
    library: Library,
) -> None:
    library.add_blueprint(BUILTIN["mlp"])
    jobs.request(library, "mlp", TARGET)
    for n in range(jobs.MAX_ATTEMPTS):
        assert jobs.claim(library, "w", lease_s=1, clock=lambda n=n: 100.0 * n) is not None
    assert jobs.claim(library, "w", clock=lambda: 1e6) is None
    assert jobs.jobs(library)[0].state == "failed"
    assert jobs.request(library, "mlp", TARGET).state == "queued"
    record = jobs.work_once(library, "w")
    assert record is not None
    assert record.status == "ready"
    assert jobs.work_once(library, "w") is None


def test_migrations_make_the_very_tables_and_keep_what_is_there(url: str) -> None:
    engine = connect(url)
    schema.upgrade(engine, "0001")
    with engine.execution_options(esper_write=True).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO blueprints (id, name, ir, created) VALUES "
                "('a', 'old', '{}', '2026-01-01 00:00:00+00:00')"
            )
        )
    if engine.dialect.name == "postgresql":
        with pytest.raises(schema.SchemaError, match="esper library upgrade"):
            schema.prepare(engine)
        schema.upgrade(engine)
    else:
        schema.prepare(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM blueprints")).scalars().all() == ["old"]
        assert schema.current(connection) == schema.newest()
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    with engine.execution_options(esper_write=True).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(schema.SchemaError, match="newer version"):
        schema.prepare(engine)
    engine.dispose()


@pytest.mark.real
def test_a_database_that_is_gone_is_told_and_has_all_when_it_is_back(
    postgres_server: Any, tmp_path: Path
) -> None:
    library = Library.open(postgres_server.create("gone"), str(tmp_path / "a"))
    library.add_blueprint(BUILTIN["mlp"])
    postgres_server.stop(signal.SIGQUIT)
    with pytest.raises(LibraryError, match=r"cannot be reached|failed"):
        library.blueprints()
    with pytest.raises(LibraryError, match=r"cannot be reached|failed"):
        library.add_blueprint(BUILTIN["gated"])
    postgres_server.start()
    assert [b.name for b in library.blueprints()] == ["mlp"]
    library.add_blueprint(BUILTIN["gated"])
    library.engine.dispose()


@pytest.mark.real
def test_artifacts_lie_in_a_real_s3(s3: str, tmp_path: Path) -> None:
    library = Library.open(str(tmp_path / "l.db"), s3)
    kernel = library.get_or_forge(BUILTIN["mlp"], TARGET)
    library.load(kernel.id)
    (weights,) = [a for a in kernel.artifacts if a.name == WEIGHTS]
    store = open_store(s3)
    assert store.put(store.get(weights.sha256)) == weights.sha256
    path = f"{store.root}/{weights.sha256[:2]}/{weights.sha256}"  # type: ignore[attr-defined]
    store.files.pipe_file(path, b"something else")  # type: ignore[attr-defined]
    with pytest.raises(LibraryError, match="is damaged"):
        library.artifact(kernel.id, WEIGHTS)
    library.load(kernel.id)
    with pytest.raises(StoreError, match="there is no artifact"):
        store.get("0" * 64)


@pytest.mark.real
def test_an_s3_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with pytest.raises(StoreError, match=r"s3://esper/x cannot be written"):
        open_store("s3://esper/x").put(b"x")


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="sqlite:///FILE or postgresql"):
        Library.open("mysql://u:secret@h/d", "x")
    with pytest.raises(LibraryError, match="needs a store"):
        Library.open("postgresql://h/d")
    (tmp_path / "file").write_text("no database at all, but long enough to be read as one")
    with pytest.raises(LibraryError, match="file is not a database"):
        Library.open(str(tmp_path / "file"))
    engine = create_engine(f"sqlite:///{tmp_path}/other.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE blueprints (x INTEGER)"))
    with pytest.raises(LibraryError, match="not esper's"):
        Library.open(str(tmp_path / "other.db"))
    with pytest.raises(StoreError, match="no sha256"):
        FolderStore(tmp_path).get("../../etc/passwd")
