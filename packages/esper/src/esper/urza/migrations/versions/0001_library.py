"""Blueprints, kernels, their artifacts, and what grew of them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "blueprints",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("ir", sa.JSON(), nullable=False),
        sa.Column("parent", sa.String(64)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blueprints"),
        sa.ForeignKeyConstraint(
            ["parent"], ["blueprints.id"], name="fk_blueprints_parent_blueprints"
        ),
    )
    op.create_index("ix_blueprints_name", "blueprints", ["name"])
    op.create_table(
        "kernels",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("blueprint", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("spatial", sa.Integer(), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("pipeline", sa.String(32), nullable=False),
        sa.Column("torch", sa.String(32), nullable=False),
        sa.Column("isa", sa.String(64), nullable=False),
        sa.Column("checks", sa.JSON(), nullable=False),
        sa.Column("cost", sa.JSON()),
        sa.Column("parameters", sa.Integer()),
        sa.Column("forward_us", sa.Float()),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_kernels"),
        sa.ForeignKeyConstraint(
            ["blueprint"], ["blueprints.id"], name="fk_kernels_blueprint_blueprints"
        ),
    )
    op.create_index("ix_kernels_blueprint", "kernels", ["blueprint"])
    op.create_index("ix_kernels_status", "kernels", ["status"])
    op.create_index("ix_kernels_place", "kernels", ["features", "spatial", "width"])
    op.create_table(
        "artifacts",
        sa.Column("kernel", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kernel", "name", name="pk_artifacts"),
        sa.ForeignKeyConstraint(["kernel"], ["kernels.id"], name="fk_artifacts_kernel_kernels"),
    )
    op.create_table(
        "grafts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kernel", sa.String(64), nullable=False),
        sa.Column("run", sa.String(128), nullable=False),
        sa.Column("site", sa.String(256), nullable=False),
        sa.Column("weights", sa.String(64), nullable=False),
        sa.Column("contribution", sa.Float()),
        sa.Column("parent", sa.String(64)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_grafts"),
        sa.ForeignKeyConstraint(["kernel"], ["kernels.id"], name="fk_grafts_kernel_kernels"),
        sa.ForeignKeyConstraint(["parent"], ["grafts.id"], name="fk_grafts_parent_grafts"),
    )
    op.create_index("ix_grafts_kernel", "grafts", ["kernel"])
    op.create_index("ix_grafts_run", "grafts", ["run"])


def downgrade() -> None:
    """Drop them."""
    for table in ("grafts", "artifacts", "kernels", "blueprints"):
        op.drop_table(table)
