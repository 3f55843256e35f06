"""The library: blueprints, kernels and grafts, with their artifacts."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from esper.tezzeret.forge import PROGRAM, WEIGHTS, Kernel, Target, forge, kernel_id
from esper.tezzeret.ir import Blueprint, blueprint_id
from esper.tezzeret.module import BlueprintModule, from_weights, weights_from_bytes
from esper.urza import schema
from esper.urza.database import LibraryError, connect, data_folder, told, transaction
from esper.urza.records import (
    Artifact,
    BlueprintRecord,
    GraftRecord,
    KernelQuery,
    KernelRecord,
    Lineage,
)
from esper.urza.store import Store, StoreError, open_store
from esper.urza.tables import ArtifactRow, BlueprintRow, GraftRow, KernelRow

_Row = TypeVar("_Row", BlueprintRow, KernelRow, GraftRow)


class NotThereError(LibraryError):
    """The library can be reached, and does not hold what is asked."""


class Library:
    """A database and a store of artifacts. Safe to use from many processes at once.

    Every artifact is stored before the row that names it, and both can be repeated: a process
    that dies on the way leaves at most an artifact that nobody names.
    """

    def __init__(self, engine: Engine, store: Store) -> None:
        self.engine = engine
        self.store = store

    @classmethod
    def open(cls, url: str | None = None, store: str | None = None) -> Library:
        """Open a library, and make its tables where there are none.

        `url` is `sqlite:///FILE`, a path or `postgresql://...`; by default $ESPER_LIBRARY, else a
        file of this user. `store` is a folder or `s3://bucket/prefix`; by default $ESPER_STORE,
        else a folder beside the file. Raises LibraryError.
        """
        url = url or os.environ.get("ESPER_LIBRARY") or str(data_folder() / "library.db")
        store = store or os.environ.get("ESPER_STORE")
        engine = connect(url)
        if store is None:
            if engine.dialect.name != "sqlite" or not engine.url.database:
                raise LibraryError(
                    "a library on a server needs a store that its users share; name a folder or "
                    "s3://bucket/prefix with --store or ESPER_STORE"
                )
            store = f"{engine.url.database}.artifacts"
        try:
            with told(engine):
                schema.prepare(engine)
            return cls(engine, open_store(store))
        except (schema.SchemaError, StoreError) as error:
            raise LibraryError(str(error)) from None

    # Blueprints

    def add_blueprint(self, blueprint: Blueprint, parent: str | None = None) -> BlueprintRecord:
        """Keep a blueprint; one that computes the same is there once. `parent`: an id or a name."""
        key = blueprint_id(blueprint)
        with transaction(self.engine, write=True) as session:
            row = session.get(BlueprintRow, key)
            if row is None:
                row = BlueprintRow(
                    id=key,
                    name=blueprint.name,
                    ir=blueprint.model_dump(mode="json"),
                    parent=self._find_blueprint(session, parent).id if parent else None,
                    created=datetime.now(UTC),
                )
                row = _insert(session, row, key)
            return BlueprintRecord.model_validate(row)

    def blueprint(self, which: str) -> BlueprintRecord:
        """Return a blueprint by its id, eight digits of it or more, or its (newest) name."""
        with transaction(self.engine) as session:
            return BlueprintRecord.model_validate(self._find_blueprint(session, which))

    def blueprints(
        self, limit: int = 1000, name: str | None = None, offset: int = 0
    ) -> list[BlueprintRecord]:
        """Return the blueprints, oldest first."""
        query = select(BlueprintRow).order_by(BlueprintRow.created, BlueprintRow.id)
        query = query.limit(limit).offset(offset)
        if name is not None:
            query = query.where(BlueprintRow.name == name)
        with transaction(self.engine) as session:
            return [BlueprintRecord.model_validate(row) for row in session.scalars(query)]

    def _find_blueprint(self, session: Session, which: str) -> BlueprintRow:
        by_name = select(BlueprintRow).where(BlueprintRow.name == which)
        row = (
            session.get(BlueprintRow, which)
            or session.scalars(by_name.order_by(BlueprintRow.created.desc()).limit(1)).first()
        )
        if row is None and len(which) >= 8 and which.isalnum():
            query = select(BlueprintRow).where(BlueprintRow.id.startswith(which)).limit(2)
            rows = session.scalars(query).all()
            row = rows[0] if len(rows) == 1 else None
        if row is None:
            names = session.scalars(select(BlueprintRow.name).distinct().limit(20)).all()
            there = f"there are {', '.join(sorted(names))}" if names else "it holds none yet"
            raise NotThereError(f"the library has no blueprint {which!r}; {there}")
        return row

    # Kernels

    def add_kernel(self, kernel: Kernel) -> KernelRecord:
        """Keep a kernel, its blueprint and its artifacts; one that failed with its checks alone."""
        self.add_blueprint(kernel.blueprint)
        stored = {name: self._put(content) for name, content in kernel.artifacts.items()}
        with transaction(self.engine, write=True) as session:
            row = session.get(KernelRow, kernel.id)
            if row is None:
                row = _insert(
                    session,
                    KernelRow(
                        id=kernel.id,
                        blueprint=blueprint_id(kernel.blueprint),
                        status="ready" if kernel.passed else "failed",
                        features=kernel.target.features,
                        width=kernel.target.width,
                        spatial=kernel.target.spatial,
                        target=kernel.target.model_dump(mode="json"),
                        pipeline=kernel.pipeline,
                        torch=kernel.torch,
                        isa=kernel.isa,
                        checks=[check.model_dump(mode="json") for check in kernel.checks],
                        cost=kernel.cost.model_dump(mode="json") if kernel.cost else None,
                        parameters=kernel.cost.parameters if kernel.cost else None,
                        forward_us=kernel.cost.forward_us if kernel.cost else None,
                        created=datetime.now(UTC),
                    ),
                    kernel.id,
                )
            for name, sha256 in stored.items():
                size = len(kernel.artifacts[name])
                session.merge(ArtifactRow(kernel=kernel.id, name=name, sha256=sha256, size=size))
            session.flush()
            return self._record(session, row)

    def kernel(self, key: str) -> KernelRecord:
        """Return a kernel by its id. Raises LibraryError."""
        with transaction(self.engine) as session:
            row = session.get(KernelRow, key)
            if row is None:
                raise NotThereError(f"the library has no kernel {key!r}")
            return self._record(session, row)

    def query(self, query: KernelQuery) -> list[KernelRecord]:
        """Return the kernels that are as wanted."""
        order = {
            "latency": KernelRow.forward_us,
            "parameters": KernelRow.parameters,
            "newest": KernelRow.created.desc(),
        }[query.sort]
        rows = select(KernelRow).order_by(order, KernelRow.id).limit(query.limit)
        rows = rows.offset(query.offset)
        for key in ("status", "features", "width", "spatial", "torch", "isa"):
            if (wanted := getattr(query, key)) is not None:
                rows = rows.where(getattr(KernelRow, key) == wanted)
        if query.max_parameters is not None:
            rows = rows.where(KernelRow.parameters <= query.max_parameters)
        if query.max_forward_us is not None:
            rows = rows.where(KernelRow.forward_us <= query.max_forward_us)
        with transaction(self.engine) as session:
            if query.blueprint is not None:
                found = self._find_blueprint(session, query.blueprint)
                rows = rows.where(KernelRow.blueprint == found.id)
            return [self._record(session, row) for row in session.scalars(rows).all()]

    def get_or_forge(self, blueprint: Blueprint, target: Target) -> KernelRecord:
        """Return the kernel for this machine; it is made if the library has none."""
        try:
            return self.kernel(kernel_id(blueprint, target))
        except NotThereError:
            return self.add_kernel(forge(blueprint, target))

    def artifact(self, key: str, name: str) -> bytes:
        """Return an artifact of a kernel, compared with its sha256. Raises LibraryError."""
        with transaction(self.engine) as session:
            row = session.get(ArtifactRow, (key, name))
            sha256 = row.sha256 if row else None
        if sha256 is None:
            raise NotThereError(f"kernel {key!r} has no artifact {name!r}")
        try:
            return self.store.get(sha256)
        except StoreError as error:
            raise LibraryError(f"kernel {key[:12]}, {name}: {error}") from None

    def load(self, key: str) -> BlueprintModule:
        """Return a kernel's branch, from its IR and its weights: no code of the library runs.

        Weights that are missing or damaged are drawn again from the kernel's seed, if this
        machine makes the very kernel (`mend`). Raises LibraryError and KernelError.
        """
        record = self.kernel(key)
        if record.status != "ready":
            failed = "; ".join(f"{c.name}: {c.found}" for c in record.checks if not c.passed)
            raise LibraryError(f"kernel {key[:12]} failed its checks ({failed})")
        try:
            content = self.artifact(key, WEIGHTS)
        except LibraryError:
            self.mend(key)
            content = self.artifact(key, WEIGHTS)
        ir = self.blueprint(record.blueprint).ir
        tensors = weights_from_bytes(content, f"the weights of kernel {key[:12]}")
        return from_weights(ir, record.target.shape(), record.target.width, tensors)

    def mend(self, key: str) -> KernelRecord:
        """Make a kernel's artifacts anew, where they are lost or damaged.

        Raises LibraryError if this machine makes another kernel of it.
        """
        record = self.kernel(key)
        ir = self.blueprint(record.blueprint).ir
        if kernel_id(ir, record.target) != key:
            raise LibraryError(
                f"kernel {key[:12]} was made by {record.pipeline} with torch {record.torch} on "
                f"{record.isa}; mend it there"
            )
        return self.add_kernel(forge(ir, record.target))

    def _put(self, content: bytes) -> str:
        try:
            return self.store.put(content)
        except StoreError as error:
            raise LibraryError(str(error)) from None

    def _record(self, session: Session, row: KernelRow) -> KernelRecord:
        artifacts = session.scalars(
            select(ArtifactRow).where(ArtifactRow.kernel == row.id).order_by(ArtifactRow.name)
        )
        record = KernelRecord.model_validate(row)
        found = [Artifact.model_validate(artifact) for artifact in artifacts]
        return record.model_copy(update={"artifacts": found})

    # Grafts

    def add_graft(
        self,
        kernel: str,
        run: str,
        site: str,
        weights: bytes,
        contribution: float | None = None,
        parent: str | None = None,
    ) -> GraftRecord:
        """Keep the trained weights of a branch that stayed; the same graft is there once."""
        weights_from_bytes(weights)
        sha256 = self._put(weights)
        key = hashlib.sha256("\n".join((kernel, run, site, sha256)).encode()).hexdigest()
        with transaction(self.engine, write=True) as session:
            if session.get(KernelRow, kernel) is None:
                raise NotThereError(f"the library has no kernel {kernel!r}")
            row = session.get(GraftRow, key) or _insert(
                session,
                GraftRow(
                    id=key,
                    kernel=kernel,
                    run=run,
                    site=site,
                    weights=sha256,
                    contribution=contribution,
                    parent=parent,
                    created=datetime.now(UTC),
                ),
                key,
            )
            return GraftRecord.model_validate(row)

    def grafts(self, run: str | None = None, limit: int = 1000) -> list[GraftRecord]:
        """Return what grew, oldest first."""
        query = select(GraftRow).order_by(GraftRow.created, GraftRow.id).limit(limit)
        if run is not None:
            query = query.where(GraftRow.run == run)
        with transaction(self.engine) as session:
            return [GraftRecord.model_validate(row) for row in session.scalars(query)]

    def lineage(self, which: str) -> Lineage:
        """Return everything that a blueprint, kernel or graft comes from, and what came of it."""
        with transaction(self.engine) as session:
            graft = session.get(GraftRow, which)
            kernel = session.get(KernelRow, graft.kernel if graft else which)
            start = kernel.blueprint if kernel else self._find_blueprint(session, which).id
            ancestors: list[BlueprintRow] = []
            here: str | None = start
            while here is not None:
                row = session.get_one(BlueprintRow, here)
                ancestors.append(row)
                here = row.parent
            family, todo = [row.id for row in reversed(ancestors)], [start]
            while todo:
                query = select(BlueprintRow.id).where(BlueprintRow.parent == todo.pop())
                children = session.scalars(query.order_by(BlueprintRow.created)).all()
                family += children
                todo += children
            kernels = session.scalars(
                select(KernelRow)
                .where(KernelRow.blueprint.in_(family))
                .order_by(KernelRow.created, KernelRow.id)
            ).all()
            grafts = session.scalars(
                select(GraftRow)
                .where(GraftRow.kernel.in_([k.id for k in kernels]))
                .order_by(GraftRow.created, GraftRow.id)
            ).all()
            return Lineage(
                blueprints=[
                    BlueprintRecord.model_validate(session.get_one(BlueprintRow, key))
                    for key in family
                ],
                kernels=[self._record(session, row) for row in kernels],
                grafts=[GraftRecord.model_validate(row) for row in grafts],
            )


def _insert(session: Session, row: _Row, key: str) -> _Row:
    """Insert a row, or return the equal one that another process inserted meanwhile."""
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        there = session.get(type(row), key)
        if there is None:
            raise
        return there
    return row


__all__ = ["PROGRAM", "WEIGHTS", "Library", "LibraryError", "NotThereError"]
