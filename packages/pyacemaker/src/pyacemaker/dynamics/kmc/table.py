"""The saved state table: one SQLite file from which a walk goes on after any crash.

Every finished search and every hop is one transaction (synchronous FULL), with a checksum.
Floats are kept to the last bit, so a walk that was killed goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from pyacemaker.dynamics.kmc.geometry import Array, Indices


FORMAT = 1
FILE_NAME = "kmc.db"


class TableError(RuntimeError):
    """A state table that is damaged or does not fit; the message names it and the remedy."""


@dataclass(frozen=True)
class Mechanism:
    """A way out of a state, and its copies under the state's symmetry.

    Displacements are from the state's own positions, N x 3 in angstrom. `copies` holds a
    rotation (3 x 3) and an order of the atoms for each way that is the same by symmetry,
    the identity first. `found` counts the searches that led to any of them; `gamma` is the
    largest of any atom at the saddle point, None where the potential gives none.
    """

    number: int
    barrier_eV: float
    reverse_barrier_eV: float
    prefactor_THz: float
    saddle: Array
    product: Array
    mode: Array
    copies: tuple[tuple[Array, Indices], ...]
    found: int = 1
    gamma: float | None = None

    def copy_of(self, vectors: Array, index: int) -> Array:
        """Return displacements as they are in the copy of that index."""
        rotation, order = self.copies[index]
        turned = np.empty_like(vectors)
        turned[order] = vectors @ rotation
        return turned


@dataclass(frozen=True)
class State:
    """A minimum: its structure, energy (eV), and what is known of the ways out.

    `searches` have been made, of which the last `streak` in a row found relevant ways, but no
    new one. `potential` names the landscape all this was found on.
    """

    number: int
    atoms: Atoms
    energy_eV: float
    potential: str
    searches: int = 0
    streak: int = 0
    mechanisms: tuple[Mechanism, ...] = field(default_factory=tuple)

    @property
    def confidence(self) -> float:
        """Return 1 - 1/N for the N searches in a row that found nothing new."""
        return 1.0 - 1.0 / self.streak if self.streak else 0.0


@dataclass(frozen=True)
class Search:
    """How one saddle search ended: `outcome` in a word, and the largest gamma it met."""

    state: int
    number: int
    outcome: str
    barrier_eV: float | None
    gamma_max: float | None
    force_calls: int


@dataclass(frozen=True)
class Hop:
    """One event of the walk: out of `state` by a copy of a mechanism, after `waited_s`.

    `time_s` is the clock after it, `rate_per_s` of the way that was taken,
    `total_rate_per_s` of all ways out, `energy_eV` of the state that was left.
    """

    number: int
    potential: str
    state: int
    mechanism: int
    copy: int
    barrier_eV: float
    rate_per_s: float
    total_rate_per_s: float
    waited_s: float
    time_s: float
    energy_eV: float


class StateTable:
    """Open the table in `path`, made if missing. Raises TableError if it is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:  # a folder of that name, no permission
            raise TableError(f"{path} cannot be opened: {error}") from error
        try:
            # One file and nothing beside it once a transaction is over: it can be copied.
            self._connection.execute("PRAGMA journal_mode=DELETE")
            self._connection.execute("PRAGMA synchronous=FULL")
            verdict = self._connection.execute("PRAGMA quick_check").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS entry (kind TEXT, number INTEGER, part INTEGER,"
                " content TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (kind, number, part))"
            )
            found = self.fact("format")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise TableError(self._damaged(str(error))) from error
        if found is None:
            self.set_fact("format", FORMAT)
        elif found != FORMAT:
            raise TableError(f"{path}: written in format {found}; this version reads {FORMAT}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> StateTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _damaged(self, what: str) -> str:
        return (
            f"{self.path}: damaged ({what}). Restore it from a copy, or remove it: the walk "
            "starts again"
        )

    # ---- facts: what the walk knows of itself

    def fact(self, key: str) -> Any:
        """Return a fact, None if it is not known."""
        row = self._read("fact:" + key, 0, 0)
        return None if row is None else row["value"]

    def set_fact(self, key: str, value: Any) -> None:
        """Write a fact, replacing what was known."""
        self._write([("fact:" + key, 0, 0, {"value": value})])

    # ---- states, searches, hops

    def states(self) -> list[State]:
        """Return all states in the order they were met."""
        rows = self._connection.execute(
            "SELECT kind, number, part, content, checksum FROM entry WHERE kind = 'state'"
            " ORDER BY number"
        )
        return [_state_from(self._checked(row)) for row in rows.fetchall()]

    def searches(self) -> list[Search]:
        """Return all searches, state by state."""
        return [Search(**row) for row in self._all("search")]

    def hops(self) -> list[Hop]:
        """Return the time line."""
        return [Hop(**row) for row in self._all("hop")]

    def save_state(
        self, state: State, search: Search | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Write a state, with the search that changed it, in one transaction."""
        entries: list[tuple[str, int, int, dict[str, Any]]] = [
            ("state", state.number, 0, _state_to(state))
        ]
        if search is not None:
            entries.append(("search", search.state, search.number, search.__dict__))
        entries += [("fact:" + key, 0, 0, {"value": value}) for key, value in (facts or {}).items()]
        self._write(entries)

    def save_hop(self, hop: Hop, facts: Mapping[str, Any]) -> None:
        """Write a hop and what it changed, in one transaction."""
        entries: list[tuple[str, int, int, dict[str, Any]]] = [("hop", hop.number, 0, hop.__dict__)]
        entries += [("fact:" + key, 0, 0, {"value": value}) for key, value in facts.items()]
        self._write(entries)

    # ---- inside

    def _all(self, kind: str) -> list[dict[str, Any]]:
        rows = self._connection.execute(
            "SELECT kind, number, part, content, checksum FROM entry WHERE kind = ?"
            " ORDER BY number, part",
            (kind,),
        )
        return [self._checked(row) for row in rows.fetchall()]

    def _read(self, kind: str, number: int, part: int) -> dict[str, Any] | None:
        row = self._connection.execute(
            "SELECT kind, number, part, content, checksum FROM entry"
            " WHERE kind = ? AND number = ? AND part = ?",
            (kind, number, part),
        ).fetchone()
        return None if row is None else self._checked(row)

    def _checked(self, row: tuple[str, int, int, str, str]) -> dict[str, Any]:
        kind, number, part, content, checksum = row
        if checksum != _checksum(kind, number, part, content):
            raise TableError(self._damaged(f"checksum of {kind} {number} does not fit"))
        loaded: dict[str, Any] = json.loads(content)
        return loaded

    def _write(self, entries: list[tuple[str, int, int, dict[str, Any]]]) -> None:
        rows = []
        for kind, number, part, value in entries:
            content = json.dumps(value, separators=(",", ":"))
            rows.append((kind, number, part, content, _checksum(kind, number, part, content)))
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(
                "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)", rows
            )
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise


def _checksum(kind: str, number: int, part: int, content: str) -> str:
    return hashlib.sha256(f"{kind}\0{number}\0{part}\0{content}".encode()).hexdigest()


def structure_text(atoms: Atoms) -> str:
    """Return `atoms` with its constraints as JSON text, exact to the last bit."""
    from ase.io import jsonio

    plain: Atoms = atoms.copy()
    plain.calc = None
    return str(jsonio.encode(plain))


def structure_from(text: str) -> Atoms:
    """Return what `structure_text` wrote."""
    from ase.io import jsonio

    atoms: Atoms = jsonio.decode(text)
    return atoms


def _state_to(state: State) -> dict[str, Any]:
    return {
        "number": state.number,
        "atoms": structure_text(state.atoms),
        "energy_eV": state.energy_eV,
        "potential": state.potential,
        "searches": state.searches,
        "streak": state.streak,
        "mechanisms": [
            {
                **one.__dict__,
                "saddle": one.saddle.tolist(),
                "product": one.product.tolist(),
                "mode": one.mode.tolist(),
                "copies": [[turn.tolist(), order.tolist()] for turn, order in one.copies],
            }
            for one in state.mechanisms
        ],
    }


def _state_from(row: dict[str, Any]) -> State:
    mechanisms = [
        Mechanism(
            **{
                **one,
                "saddle": np.array(one["saddle"], dtype=float),
                "product": np.array(one["product"], dtype=float),
                "mode": np.array(one["mode"], dtype=float),
                "copies": tuple(
                    (np.array(turn, dtype=float), np.array(order, dtype=np.int64))
                    for turn, order in one["copies"]
                ),
            }
        )
        for one in row["mechanisms"]
    ]
    return State(**{**row, "atoms": structure_from(row["atoms"]), "mechanisms": tuple(mechanisms)})
