"""One engine for SQLite and PostgreSQL, and transactions whose failures have words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session


class LibraryError(RuntimeError):
    """A library that cannot be reached or does not hold what is asked; says what to do."""


def data_folder() -> Path:
    """Return where the library of one user lies: $XDG_DATA_HOME/esper."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "esper"


def connect(url: str) -> Engine:
    """Make the engine for `sqlite:///FILE`, a path, or `postgresql://...`."""
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        if parsed.get_backend_name() != "postgresql":
            raise LibraryError(
                f"{parsed.render_as_string()}: use sqlite:///FILE or postgresql://..."
            )
        return create_engine(
            parsed,
            pool_pre_ping=True,  # a server that was restarted is noticed before a query
            pool_size=8,
            connect_args={"connect_timeout": 5},
        )
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        hint = "; install pyacemaker-esper[services]" if "psycopg" in str(error) else ""
        raise LibraryError(f"the library's URL is not usable ({error}){hint}") from None


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(f"{url.database}: {error.strerror}") from None
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("esper_write", False)
        # IMMEDIATE: one that will write waits here for its turn, and not half way
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@contextlib.contextmanager
def transaction(engine: Engine, *, write: bool = False) -> Iterator[Session]:
    """Open a session that is committed as a whole or not at all.

    Raises LibraryError where the database cannot be reached.
    """
    bound = engine.execution_options(esper_write=write)
    with told(engine), Session(bound) as session, session.begin():
        yield session


@contextlib.contextmanager
def told(engine: Engine) -> Iterator[None]:
    """Turn the database's failures into one line."""
    try:
        yield
    except DBAPIError as error:
        first = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        what = "cannot be reached" if isinstance(error, OperationalError) else "failed"
        where = engine.url.render_as_string(hide_password=True)
        raise LibraryError(f"the library {where} {what}: {first}") from error
