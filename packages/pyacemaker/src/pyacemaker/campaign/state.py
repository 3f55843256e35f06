"""The campaign's memory: one SQLite file with what was done, step by step.

A step is recorded when it is finished and never before, in one transaction, with a
checksum of its result. What a killed run had begun is simply done again; what it had
finished is read back. Readers (`pyacemaker status`) open the file read-only.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, String, UniqueConstraint, create_engine, event, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

FORMAT = 1
FILE_NAME = "campaign.db"


class StateError(RuntimeError):
    """The state file is damaged or does not fit; the message names it, and the remedy."""


class _Base(DeclarativeBase):
    pass


class _Fact(_Base):
    """One thing the campaign knows about itself: settings, seed, outcome, activity."""

    __tablename__ = "fact"
    key: Mapped[str] = mapped_column(String, primary_key=True)
    value: Mapped[str]
    checksum: Mapped[str]


class _Step(_Base):
    """A finished step and its result."""

    __tablename__ = "step"
    __table_args__ = (UniqueConstraint("iteration", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    iteration: Mapped[int]
    name: Mapped[str]
    finished: Mapped[float]  # seconds since 1970
    wall_s: Mapped[float]
    result: Mapped[str]
    checksum: Mapped[str]


class _Event(_Base):
    """One line of the decision log."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[float]
    iteration: Mapped[int]
    step: Mapped[str]
    message: Mapped[str]


@dataclass(frozen=True)
class StepRecord:
    """A finished step: `wall_s` in seconds, `finished` in seconds since 1970."""

    iteration: int
    name: str
    finished: float
    wall_s: float
    result: dict[str, Any]


@dataclass(frozen=True)
class LogLine:
    """A line of the decision log: `time` in seconds since 1970."""

    time: float
    iteration: int
    step: str
    message: str


def _encode(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _checksum(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class CampaignState:
    """Open a campaign's state file, made if missing (unless `read_only`).

    Raises StateError if it is damaged, of another format, or missing when `read_only`.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self.path = directory / FILE_NAME
        if read_only and not self.path.exists():
            raise StateError(f"{directory}: no campaign here (there is no {FILE_NAME})")
        self._engine = _open(self.path, read_only=read_only)
        try:
            if not read_only:
                _Base.metadata.create_all(self._engine)
            with self._engine.connect() as connection:
                verdict = connection.execute(text("PRAGMA quick_check")).scalar()
            if verdict != "ok":
                raise StateError(self._damaged(str(verdict).splitlines()[0]))
            found = self.fact("format")
            if found is None and self.steps():
                raise StateError(self._damaged("what the campaign knew of itself is gone"))
        except DatabaseError as error:
            raise StateError(self._damaged(str(error.orig))) from error
        if found is None and not read_only:
            self.set_fact("format", FORMAT)
        elif found not in (None, FORMAT):
            raise StateError(f"{self.path}: written in format {found}; this version reads {FORMAT}")

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _damaged(self, what: str) -> str:
        return (
            f"{self.path}: damaged ({what}). Restore it from a copy, or move it away and run "
            "again: finished labels are kept in the folder 'labels' and are not computed twice"
        )

    def fact(self, key: str) -> Any:
        """Return the value of a fact, None if it is not known."""
        with Session(self._engine) as session:
            row = session.get(_Fact, key)
            if row is None:
                return None
            if row.checksum != _checksum(row.key, row.value):
                raise StateError(self._damaged(f"checksum of the fact '{key}' does not fit"))
            return json.loads(row.value)

    def set_fact(self, key: str, value: Any) -> None:
        """Write a fact, replacing what was known."""
        encoded = _encode(value)
        with Session(self._engine) as session, session.begin():
            session.merge(_Fact(key=key, value=encoded, checksum=_checksum(key, encoded)))

    def result(self, iteration: int, name: str) -> dict[str, Any] | None:
        """Return the result of a finished step, None if it is not finished."""
        with Session(self._engine) as session:
            row = session.scalar(
                select(_Step).where(_Step.iteration == iteration, _Step.name == name)
            )
            return None if row is None else self._record(row).result

    def finish(
        self,
        iteration: int,
        name: str,
        result: Mapping[str, Any],
        wall_s: float,
        log: Sequence[LogLine] = (),
    ) -> None:
        """Record a step as finished with its result (plain JSON values) and what it noted."""
        encoded = _encode(dict(result))
        row = _Step(
            iteration=iteration,
            name=name,
            finished=time.time(),
            wall_s=wall_s,
            result=encoded,
            checksum=_checksum(str(iteration), name, encoded),
        )
        with Session(self._engine) as session, session.begin():
            session.add(row)
            session.add_all(_Event(**asdict(line)) for line in log)

    def newest(self) -> tuple[int, str] | None:
        """Return iteration and name of the step that was finished last, None before the first."""
        with Session(self._engine) as session:
            found = select(_Step.iteration, _Step.name).order_by(_Step.id.desc()).limit(1)
            row = session.execute(found).first()
            return None if row is None else (row.iteration, row.name)

    def steps(self, name: str | None = None) -> list[StepRecord]:
        """Return the finished steps in the order they finished, all or those called `name`."""
        query = select(_Step).order_by(_Step.id)
        if name is not None:
            query = query.where(_Step.name == name)
        with Session(self._engine) as session:
            return [self._record(row) for row in session.scalars(query)]

    def _record(self, row: _Step) -> StepRecord:
        if row.checksum != _checksum(str(row.iteration), row.name, row.result):
            where = f"step '{row.name}' of iteration {row.iteration}"
            raise StateError(self._damaged(f"checksum of {where} does not fit"))
        return StepRecord(row.iteration, row.name, row.finished, row.wall_s, json.loads(row.result))

    def log(self, line: LogLine) -> None:
        """Add a line to the decision log."""
        with Session(self._engine) as session, session.begin():
            session.add(_Event(**asdict(line)))

    def log_lines(self) -> list[LogLine]:
        """Return the decision log, oldest line first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(_Event).order_by(_Event.id))
            return [LogLine(row.time, row.iteration, row.step, row.message) for row in rows]


def _open(path: Path, *, read_only: bool) -> Engine:
    if read_only:
        engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True),
        )
    else:
        engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=30000")
        if not read_only:
            # A reader never blocks the writer, and a finished transaction survives a power cut.
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine
