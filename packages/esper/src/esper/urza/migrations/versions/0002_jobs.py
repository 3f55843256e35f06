"""Kernels that are to be made, for workers to claim."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kernel", sa.String(64), nullable=False),
        sa.Column("blueprint", sa.String(64), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("worker", sa.String(128)),
        sa.Column("lease", sa.Float()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("kernel", name="uq_jobs_kernel"),
        sa.ForeignKeyConstraint(
            ["blueprint"], ["blueprints.id"], name="fk_jobs_blueprint_blueprints"
        ),
    )
    op.create_index("ix_jobs_next", "jobs", ["state", "id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("jobs")
