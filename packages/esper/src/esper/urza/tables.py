"""The library's tables. A change here needs a migration in `migrations/versions`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables, with constraints named alike on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class BlueprintRow(Base):
    """A blueprint; `id` is the sha256 of its canonical IR, `parent` what it was derived from."""

    __tablename__ = "blueprints"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    ir: Mapped[dict[str, Any]] = mapped_column(JSON)
    parent: Mapped[str | None] = mapped_column(ForeignKey("blueprints.id"))
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class KernelRow(Base):
    """A blueprint made for a target; `id` is its content address, `status` ready or failed."""

    __tablename__ = "kernels"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    blueprint: Mapped[str] = mapped_column(ForeignKey("blueprints.id"), index=True)
    status: Mapped[str] = mapped_column(String(16), index=True)
    features: Mapped[int] = mapped_column(Integer)
    width: Mapped[int] = mapped_column(Integer)
    spatial: Mapped[int] = mapped_column(Integer)
    target: Mapped[dict[str, Any]] = mapped_column(JSON)
    pipeline: Mapped[str] = mapped_column(String(32))
    torch: Mapped[str] = mapped_column(String(32))
    isa: Mapped[str] = mapped_column(String(64))
    checks: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    cost: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    parameters: Mapped[int | None] = mapped_column(Integer)
    forward_us: Mapped[float | None] = mapped_column(Float)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (Index("ix_kernels_place", "features", "spatial", "width"),)


class ArtifactRow(Base):
    """A file of a kernel in the store; `sha256` is that of its bytes."""

    __tablename__ = "artifacts"

    kernel: Mapped[str] = mapped_column(ForeignKey("kernels.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(Integer)


class GraftRow(Base):
    """A branch that became part of a network: its trained weights, and what they were worth.

    `id` is the sha256 of kernel, run, site and weights; `contribution` the validation loss
    without it less that with it (nats), `parent` the graft whose weights it began with.
    """

    __tablename__ = "grafts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kernel: Mapped[str] = mapped_column(ForeignKey("kernels.id"), index=True)
    run: Mapped[str] = mapped_column(String(128), index=True)
    site: Mapped[str] = mapped_column(String(256))
    weights: Mapped[str] = mapped_column(String(64))
    contribution: Mapped[float | None] = mapped_column(Float)
    parent: Mapped[str | None] = mapped_column(ForeignKey("grafts.id"))
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class JobRow(Base):
    """A kernel that is to be made. A claim holds until `lease`; after that it is free again."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    kernel: Mapped[str] = mapped_column(String(64), unique=True)
    blueprint: Mapped[str] = mapped_column(ForeignKey("blueprints.id"))
    target: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    worker: Mapped[str | None] = mapped_column(String(128))
    lease: Mapped[float | None] = mapped_column(Float)
    attempts: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (Index("ix_jobs_next", "state", "id"),)
