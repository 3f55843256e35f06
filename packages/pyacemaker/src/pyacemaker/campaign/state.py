"""The campaign's memory: one SQLite file with what was done, step by step.

A step is recorded when it is finished and never before, in one transaction, with a
checksum of its result. What a killed run had begun is simply done again; what it had
finished is read back. Readers (`pyacemaker status`) open the file read-only.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
FILE_NAME = "campaign.db"

# fact: one thing the campaign knows about itself (settings, seed, outcome, activity).
# step: a finished step and its result; `finished` in seconds since 1970.
# event: one line of the decision log.
_TABLES = """
CREATE TABLE IF NOT EXISTS fact (
    key VARCHAR NOT NULL PRIMARY KEY,
    value VARCHAR NOT NULL,
    checksum VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS step (
    id INTEGER NOT NULL PRIMARY KEY,
    iteration INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    finished FLOAT NOT NULL,
    wall_s FLOAT NOT NULL,
    result VARCHAR NOT NULL,
    checksum VARCHAR NOT NULL,
    UNIQUE (iteration, name)
);
CREATE TABLE IF NOT EXISTS event (
    id INTEGER NOT NULL PRIMARY KEY,
    time FLOAT NOT NULL,
    iteration INTEGER NOT NULL,
    step VARCHAR NOT NULL,
    message VARCHAR NOT NULL
);
"""
_BUSY_S = 30.0


class StateError(RuntimeError):
    """The state file is damaged or does not fit; the message names it, and the remedy."""


@dataclass(frozen=True)
class StepRecord:
    """A finished step: `wall_s` in seconds, `finished` in seconds since 1970.

    `result` is shared by all who ask for it, and is not to be changed.
    """

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


def _why_none(directory: Path) -> str:
    """Return why a folder holds no campaign, and what to name instead."""
    named = "name a work directory, that of `pyacemaker run CONFIG --workdir DIR`"
    if directory.is_file():
        return f"it is a file; {named}"
    if directory.is_dir():
        return f"there is no {FILE_NAME}; {named}, or wait where one has only just begun"
    return f"there is no such folder; {named}"


class CampaignState:
    """Open a campaign's state file, made if missing (unless `read_only`).

    A step never changes once it is finished, so each is read and verified once and then kept in
    memory; steps that another process finished are found by the next look.

    Raises StateError if it is damaged, of another format, or missing when `read_only`.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self.path = directory / FILE_NAME
        if read_only and not self.path.exists():
            raise StateError(f"{directory}: no campaign here ({_why_none(directory)})")
        self._steps: list[StepRecord] = []
        self._results: dict[tuple[int, str], dict[str, Any]] = {}
        self._newest_id = 0
        self._lock = threading.RLock()
        try:
            self._connection = _open(self.path, read_only=read_only)
        except sqlite3.OperationalError as error:
            raise StateError(f"{self.path}: {error}") from error
        try:
            found = self._checked_format(read_only=read_only)
        except sqlite3.DatabaseError as error:
            self.close()
            raise StateError(self._damaged(str(error))) from error
        except StateError:
            self.close()
            raise
        if found is None and not read_only:
            self.set_fact("format", FORMAT)

    def _checked_format(self, *, read_only: bool) -> Any:
        """Return the file's format, None for a new file. Raises StateError if it is damaged."""
        if not read_only:
            # A reader never blocks the writer, and a finished transaction survives a power cut.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)
        (verdict,) = self._connection.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise StateError(self._damaged(str(verdict).splitlines()[0]))
        found = self.fact("format")
        if found is None and self.newest() is not None:
            raise StateError(self._damaged("what the campaign knew of itself is gone"))
        if found not in (None, FORMAT):
            raise StateError(f"{self.path}: written in format {found}; this version reads {FORMAT}")
        return found

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _damaged(self, what: str) -> str:
        return (
            f"{self.path}: damaged ({what}). Restore it from a copy, or move it away and run "
            "again: finished labels are kept in the folder 'labels' and are not computed twice"
        )

    def fact(self, key: str) -> Any:
        """Return the value of a fact, None if it is not known."""
        row = self._first("SELECT value, checksum FROM fact WHERE key = ?", key)
        if row is None:
            return None
        value, checksum = row
        if checksum != _checksum(key, value):
            raise StateError(self._damaged(f"checksum of the fact '{key}' does not fit"))
        return json.loads(value)

    def set_fact(self, key: str, value: Any) -> None:
        """Write a fact, replacing what was known."""
        encoded = _encode(value)
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO fact VALUES (?, ?, ?)",
                (key, encoded, _checksum(key, encoded)),
            )

    def result(self, iteration: int, name: str) -> dict[str, Any] | None:
        """Return the result of a finished step, None if it is not finished."""
        self._read_new()
        return self._results.get((iteration, name))

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
        checksum = _checksum(str(iteration), name, encoded)
        with self._lock, self._connection:  # one transaction
            self._connection.execute(
                "INSERT INTO step (iteration, name, finished, wall_s, result, checksum) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (iteration, name, time.time(), wall_s, encoded, checksum),
            )
            self._add(log)

    def newest(self) -> tuple[int, str] | None:
        """Return iteration and name of the step that was finished last, None before the first."""
        row = self._first("SELECT iteration, name FROM step ORDER BY id DESC LIMIT 1")
        return None if row is None else (row[0], row[1])

    def steps(self, name: str | None = None) -> list[StepRecord]:
        """Return the finished steps in the order they finished, all or those called `name`."""
        self._read_new()
        return [step for step in self._steps if name is None or step.name == name]

    def _read_new(self) -> None:
        """Read and verify the steps that were finished since the last look."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, iteration, name, finished, wall_s, result, checksum FROM step "
                "WHERE id > ? ORDER BY id",
                (self._newest_id,),
            )
            for number, iteration, name, finished, wall_s, encoded, checksum in rows.fetchall():
                if checksum != _checksum(str(iteration), name, encoded):
                    where = f"step '{name}' of iteration {iteration}"
                    raise StateError(self._damaged(f"checksum of {where} does not fit"))
                result = json.loads(encoded)
                self._steps.append(StepRecord(iteration, name, finished, wall_s, result))
                self._results[iteration, name] = result
                self._newest_id = number

    def log(self, line: LogLine) -> None:
        """Add a line to the decision log."""
        with self._lock, self._connection:
            self._add([line])

    def _add(self, log: Sequence[LogLine]) -> None:
        self._connection.executemany(
            "INSERT INTO event (time, iteration, step, message) VALUES (?, ?, ?, ?)",
            [astuple(line) for line in log],
        )

    def log_lines(self) -> list[LogLine]:
        """Return the decision log, oldest line first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT time, iteration, step, message FROM event ORDER BY id"
            ).fetchall()
        return [LogLine(*row) for row in rows]

    def _first(self, query: str, *values: Any) -> Any:
        with self._lock:
            return self._connection.execute(query, values).fetchone()


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    name = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    # Any thread may ask; the state's own lock keeps them apart.
    return sqlite3.connect(name, uri=True, timeout=_BUSY_S, check_same_thread=False)
