"""The append-only store of labels: no structure is ever given to the oracle twice.

A label is one file, ``ab/<key>.json``, named by the content of (structure, settings),
written whole, never overwritten, with a checksum that every reading verifies. Structures
that could not be labelled lie in ``failed/<key>.json``; the oracle's own files in
``work/<key>/``. ``computed.log`` gets one line for each label handed in, so that a label
computed twice would show.

Any number of threads and processes may share a store; a kill -9 at any moment leaves
whole files only (and at most a temporary one, which is ignored, and removed when old).
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.files import locked, write_whole
from pyacemaker.label_files import (
    CorruptLabelError,
    atoms_from,
    corrupt_if_malformed,
    failure_content,
    label_content,
    label_from,
    label_key,
    read_sealed,
    sealed,
)
from pyacemaker.oracle.base import Label, OracleError

__all__ = ["Computed", "CorruptLabelError", "Failure", "LabelStore", "label_key"]

_KEY = re.compile(r"[0-9a-f]{64}")
_OLD_S = 3600.0  # a temporary file this old was left behind by a killed process
_LOG_LINE = re.compile(r"([0-9a-f]{64}) (\d+(?:\.\d+)?) (new|again|found)")


_Stamp = tuple[int, int, int]


def _stamp(path: Path) -> _Stamp | None:
    """Return what changes when a file does: its inode, size and time; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path, key: str) -> Label | None:
    content = read_sealed(path, key)
    return None if content is None else label_from(path, content)


def _copy(label: Label) -> Label:
    """Return a label whose atoms, info and results may be changed without changing this one's."""
    atoms = label.atoms.copy()
    atoms.info = copy.deepcopy(label.atoms.info)
    atoms.calc = SinglePointCalculator(atoms, **label.atoms.calc.results)
    return Label(atoms, label.settings, label.meta)


@dataclass(frozen=True)
class Failure:
    """A structure the oracle could not label, with its one-line diagnosis.

    `meta` is the record of the attempts as the oracle gave it.
    """

    key: str
    atoms: Atoms
    settings: Mapping[str, Any]
    diagnosis: str
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Computed:
    """One line of ``computed.log``.

    `status` is ``new`` (the label was stored), ``again`` (its key was there already: the
    work was done twice) or ``found`` (stored, but the process died before it was logged).
    """

    key: str
    wall_s: float
    status: str


class LabelStore:
    """Labels on disk, keyed by their content. See the module's own words for the layout.

    With `remember` a label that was read and verified stays in memory, and is read again only if
    its file has changed: for a campaign, which asks for all of them several times a cycle.
    """

    def __init__(self, directory: Path, *, remember: bool = False) -> None:
        """Open the store in `directory`, which is made by the first thing written to it."""
        self.directory = Path(directory)
        self._remembered: dict[str, tuple[_Stamp, Label]] | None = {} if remember else None
        self._log_checked = False
        self._remove_leftovers()

    # ---- reading

    def key(self, atoms: Atoms, settings: Mapping[str, Any]) -> str:
        """Return `label_key(atoms, settings)`."""
        return label_key(atoms, settings)

    def contains(self, key: str) -> bool:
        """Say whether there is a label of this key (its file is not read)."""
        return self._path(key).is_file()

    def __contains__(self, key: str) -> bool:
        return self.contains(key)

    def get(self, key: str) -> Label | None:
        """Return the label, or None if there is none. Raises CorruptLabelError."""
        path = self._path(key)
        if self._remembered is None:
            return _read(path, key)
        stamp = _stamp(path)
        known = self._remembered.get(key)
        if known is None or known[0] != stamp:
            label = _read(path, key)
            if stamp is None or label is None:
                self._remembered.pop(key, None)
                return label
            known = self._remembered[key] = (stamp, label)
        return _copy(known[1])

    def keys(self) -> list[str]:
        """Return the keys of all labels, sorted."""
        found = self.directory.glob("[0-9a-f][0-9a-f]/*.json")
        return sorted(path.stem for path in found if _KEY.fullmatch(path.stem))

    def __iter__(self) -> Iterator[Label]:
        """Yield every label in the order of the keys. Raises CorruptLabelError."""
        for key in self.keys():
            label = self.get(key)
            if label is not None:
                yield label

    def __len__(self) -> int:
        return len(self.keys())

    def corrupt(self) -> list[CorruptLabelError]:
        """Read every file, labels and failures, and return what is wrong with them."""
        errors: list[CorruptLabelError] = []
        for keys, read in ((self.keys(), self.get), (self._failed_keys(), self.failure)):
            for key in keys:
                try:
                    read(key)
                except CorruptLabelError as error:
                    errors.append(error)
        return errors

    def computed(self) -> list[Computed]:
        """Return what ``computed.log`` says, in the order it was written.

        A line cut short by a power failure is left out.
        """
        try:
            lines = (self.directory / "computed.log").read_text().splitlines()
        except FileNotFoundError:
            return []
        matches = (_LOG_LINE.fullmatch(line) for line in lines)
        return [Computed(m[1], float(m[2]), m[3]) for m in matches if m]

    # ---- writing

    def put(self, label: Label) -> str:
        """Store `label` and return its key; where there is one of this key, that one stays.

        Raises ValueError for a label without finite energy, forces and (for a structure
        periodic in three directions) stress, and CorruptLabelError if the one that is there
        cannot be read.
        """
        key = label_key(label.atoms, label.settings)
        content = label_content(label)
        with self._locked():
            self._log_what_was_found()
            status = "new" if self.get(key) is None else "again"
            if status == "new":
                write_whole(self._path(key), sealed(key, content))
                self._failed_path(key).unlink(missing_ok=True)
            self._log(key, float(label.meta.get("wall_s", 0.0)), status)
        return key

    def workdir(self, key: str) -> Path:
        """Return the directory for the oracle's own files of this key, made if missing."""
        self._path(key)
        path = self.directory / "work" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    # ---- failures

    def put_failure(self, atoms: Atoms, settings: Mapping[str, Any], error: OracleError) -> str:
        """Remember that `atoms` could not be labelled, and why; return the key."""
        key = label_key(atoms, settings)
        content = failure_content(atoms, settings, error)
        with self._locked():
            if not self.contains(key):
                write_whole(self._failed_path(key), sealed(key, content))
        return key

    def failure(self, key: str) -> Failure | None:
        """Return why this key could not be labelled, or None. Raises CorruptLabelError."""
        path = self._failed_path(key)
        content = read_sealed(path, key)
        if content is None:
            return None
        with corrupt_if_malformed(path):
            return Failure(
                key,
                atoms_from(content["atoms"]),
                content["settings"],
                content["diagnosis"],
                content["meta"],
            )

    def failures(self) -> list[Failure]:
        """Return all failures, in the order of their keys. Raises CorruptLabelError."""
        found = (self.failure(key) for key in self._failed_keys())
        return [failure for failure in found if failure is not None]

    def forget_failures(self) -> int:
        """Let failed structures be tried again; return how many there were."""
        with self._locked():
            keys = self._failed_keys()
            for key in keys:
                self._failed_path(key).unlink(missing_ok=True)
        return len(keys)

    # ---- inside

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a label's key (64 hexadecimal digits): {key!r}")
        return self.directory / key[:2] / f"{key}.json"

    def _failed_path(self, key: str) -> Path:
        return self.directory / "failed" / self._path(key).name

    def _failed_keys(self) -> list[str]:
        found = (self.directory / "failed").glob("*.json")
        return sorted(path.stem for path in found if _KEY.fullmatch(path.stem))

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        # An flock on a descriptor of its own: it keeps threads apart as well as processes.
        return locked(self.directory / ".lock")

    def _log(self, key: str, wall_s: float, status: str) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.directory / "computed.log", flags, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # after a line that a power failure cut short
            os.write(descriptor, f"{key} {wall_s:.3f} {status}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _log_what_was_found(self) -> None:
        # A process killed between the label's file and its line left the line out.
        if self._log_checked:
            return
        logged = {line.key for line in self.computed()}
        for key in self.keys():
            if key not in logged:
                self._log(key, 0.0, "found")
        self._log_checked = True

    def _remove_leftovers(self) -> None:
        now = time.time()
        for pattern in ("[0-9a-f][0-9a-f]/.*.json.*", "failed/.*.json.*"):
            for path in self.directory.glob(pattern):
                with contextlib.suppress(OSError):
                    if now - path.stat().st_mtime > _OLD_S:
                        path.unlink()
