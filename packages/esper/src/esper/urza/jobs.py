"""Work for many forges: every job is claimed by one worker, and by another if that one dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from esper.tezzeret.forge import Target, forge, kernel_id
from esper.urza.database import LibraryError, transaction
from esper.urza.library import Library
from esper.urza.records import Job, KernelRecord
from esper.urza.tables import JobRow, KernelRow

LEASE_S = 300.0
MAX_ATTEMPTS = 3


def request(library: Library, blueprint: str, target: Target) -> Job:
    """Ask for a kernel for machines like this one. One that is asked for already is there once."""
    found = library.blueprint(blueprint)
    key = kernel_id(found.ir, target)
    with transaction(library.engine, write=True) as session:
        row = JobRow(
            kernel=key,
            blueprint=found.id,
            target=target.model_dump(mode="json"),
            state="queued" if session.get(KernelRow, key) is None else "done",
            attempts=0,
            created=datetime.now(UTC),
        )
        try:
            with session.begin_nested():
                session.add(row)
                session.flush()
        except IntegrityError:
            row = session.scalars(select(JobRow).where(JobRow.kernel == key)).one()
            if row.state == "failed":  # asked for again
                row.state, row.attempts, row.error = "queued", 0, None
                session.flush()
        return Job.model_validate(row)


def claim(
    library: Library,
    worker: str,
    lease_s: float = LEASE_S,
    clock: Callable[[], float] = time.time,
) -> Job | None:
    """Take the oldest job that is free: queued, or claimed by a worker whose lease is over.

    On PostgreSQL by `FOR UPDATE SKIP LOCKED`, so that workers do not wait for each other; on
    SQLite one writer is in the file at a time. Returns None if there is none. A job that three
    workers died over is failed.
    """
    now = clock()
    free = or_(JobRow.state == "queued", (JobRow.state == "claimed") & (JobRow.lease < now))
    with transaction(library.engine, write=True) as session:
        while True:
            query = select(JobRow).where(free).order_by(JobRow.id).limit(1)
            row = session.scalars(query.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            if row.attempts >= MAX_ATTEMPTS:
                row.state = "failed"
                row.error = f"given up: {row.attempts} workers did not come back"
                session.flush()
                continue
            row.state = "claimed"
            row.worker = worker
            row.lease = now + lease_s
            row.attempts += 1
            session.flush()
            return Job.model_validate(row)


def finish(library: Library, job: Job, error: str | None = None) -> bool:
    """End a job, well or with an error. Returns False if it has been given to another meanwhile."""
    state = "done" if error is None else "failed"
    with transaction(library.engine, write=True) as session:
        done = session.execute(
            update(JobRow)
            .where(JobRow.id == job.id, JobRow.worker == job.worker, JobRow.state == "claimed")
            .where(JobRow.attempts == job.attempts)
            .values(state=state, lease=None, error=error)
            .returning(JobRow.id)
        ).all()
        return len(done) == 1


def jobs(library: Library, limit: int = 1000, offset: int = 0) -> list[Job]:
    """Return the jobs, oldest first."""
    with transaction(library.engine) as session:
        rows = session.scalars(select(JobRow).order_by(JobRow.id).limit(limit).offset(offset))
        return [Job.model_validate(row) for row in rows]


def work_once(library: Library, worker: str) -> KernelRecord | None:
    """Claim a job, make its kernel and keep it. Returns None if there was none to do.

    A blueprint that fails its checks is a kernel with status `failed`, and its job is done.
    """
    job = claim(library, worker)
    if job is None:
        return None
    blueprint = library.blueprint(job.blueprint).ir
    if kernel_id(blueprint, job.target) != job.kernel:
        finish(library, job, "asked for by a machine with another torch or processor")
        raise LibraryError(
            f"job {job.id} is for another torch or processor than this machine's; ask anew here"
        )
    record = library.add_kernel(forge(blueprint, job.target))
    finish(library, job)
    return record
