"""Making the tables, and bringing those of an older version up to date."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

_LOCK = 0x65737065  # of PostgreSQL, held while tables are made


class SchemaError(RuntimeError):
    """Tables that this version cannot work with; says what to do."""


def newest() -> str:
    """Return the name of the newest revision."""
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert head is not None  # noqa: S101 - shipped with the package
    return head


def current(connection: Connection) -> str | None:
    """Return the revision of a database, None where there is none."""
    return MigrationContext.configure(connection).get_current_revision()


def prepare(engine: Engine) -> None:
    """Make the tables of an empty database, and bring a file of SQLite up to date.

    The tables of a server belong to a team: an older revision there is a SchemaError that names
    the command, and so is everywhere a revision that this version does not know.
    """
    with engine.connect() as connection:
        found = current(connection)
        if found == newest():
            return
        known = {s.revision for s in ScriptDirectory.from_config(_config(None)).walk_revisions()}
        if found is not None and found not in known:
            raise SchemaError(
                f"the library's tables are of a newer version of esper (revision {found}); "
                "install that version"
            )
        if found is not None and engine.dialect.name != "sqlite":
            raise SchemaError(
                f"the library's tables are of an older version of esper (revision {found}); "
                "bring them up to date with `esper library upgrade`"
            )
        if found is None and "blueprints" in inspect(connection).get_table_names():
            raise SchemaError("the database has a table 'blueprints' that is not esper's")
    upgrade(engine)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run the migrations, one process at a time."""
    with engine.execution_options(esper_write=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(_config(connection), revision)


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
