"""Run by alembic; esper hands it the connection (see `esper.urza.schema`)."""

from __future__ import annotations

from alembic import context

from esper.urza.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
