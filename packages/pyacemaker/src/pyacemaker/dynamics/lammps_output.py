"""What LAMMPS left behind, read without trust: it may have died at any point."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyacemaker.dynamics.base import DynamicsError, GammaSample
from pyacemaker.dynamics.lammps_input import WATCHDOGS

Array = NDArray[np.float64]

_HALT = re.compile(r"Fix halt condition for fix-id (\w+) met on step (\d+) with value (\S+)")
_LOST = re.compile(r"Lost atoms: original (\d+) current (\d+)")


@dataclass(frozen=True)
class DumpFrame:
    """One frame of a dump: its step, box and columns, rows in order of atom id."""

    step: int
    lower: Array
    vectors: Array
    columns: dict[str, Array]

    def block(self, *names: str) -> Array:
        """Return the named columns side by side (N x len(names))."""
        return np.column_stack([self.columns[name] for name in names])

    @property
    def is_finite(self) -> bool:
        """Whether every number in it is finite."""
        return bool(
            np.isfinite(self.vectors).all()
            and all(np.isfinite(column).all() for column in self.columns.values())
        )


@dataclass(frozen=True)
class Halt:
    """Which watchdog ended the run, when, and on what value."""

    kind: str
    step: int
    value: float


def read_dump(path: Path, atoms: int) -> list[DumpFrame]:
    """Read the whole frames of a text dump; a frame cut short at the end is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines()
    frames: list[DumpFrame] = []
    at = 0
    while at + 9 + atoms <= len(lines):
        try:
            frames.append(_frame(lines[at : at + 9 + atoms], atoms))
        except (ValueError, IndexError):
            break
        at += 9 + atoms
    return frames


def _frame(lines: list[str], atoms: int) -> DumpFrame:
    if int(lines[3]) != atoms:
        raise ValueError("atoms were lost")
    bounds = np.array([[float(x) for x in line.split()] for line in lines[5:8]])
    lower, upper = bounds[:, 0].copy(), bounds[:, 1].copy()
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    # the file gives the bounding box of a tilted box (LAMMPS manual, Howto_triclinic)
    lower[0] -= min(0.0, xy, xz, xy + xz)
    upper[0] -= max(0.0, xy, xz, xy + xz)
    lower[1] -= min(0.0, yz)
    upper[1] -= max(0.0, yz)
    vectors = np.diag(upper - lower)
    vectors[1, 0], vectors[2, 0], vectors[2, 1] = xy, xz, yz
    names = lines[8].split()[2:]
    table = np.array([[float(x) for x in line.split()] for line in lines[9:]])
    if table.shape != (atoms, len(names)):
        raise ValueError("a row is cut short")
    table = table[np.argsort(table[:, 0])]
    return DumpFrame(int(lines[1]), lower, vectors, dict(zip(names, table.T, strict=True)))


def read_trace(path: Path, timestep_fs: float) -> tuple[GammaSample, ...]:
    """Read the watchdog's looks; a step written twice counts once, a cut line not at all."""
    if not path.is_file():
        return ()
    samples: dict[int, GammaSample] = {}
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if len(words) != 5 or words[0] == "#":
            continue
        try:
            step = int(words[0])
            samples[step] = GammaSample(step, step * timestep_fs, float(words[1]), float(words[2]))
        except ValueError:
            continue
    return tuple(samples[step] for step in sorted(samples))


def find_halt(log: str) -> Halt | None:
    """Return the halt message of the log; `error soft` and `continue` exit with status 0."""
    for match in _HALT.finditer(log):
        kind = WATCHDOGS.get(match.group(1))
        if kind is not None:
            return Halt(kind, int(match.group(2)), float(match.group(3)))
    return None


def find_error(log: str) -> str | None:
    """Return LAMMPS' own words for why it stopped, in one line, or None.

    Raises DynamicsError where the pair style is missing: no other structure will do better.
    """
    lines = log.splitlines()
    for at, line in enumerate(lines):
        if "ERROR" not in line:
            continue
        if "Unrecognized pair style" in line:
            opened = [x for x in lines[:at] if x.startswith(("Open of file", "Plugin symbol"))]
            why = f" ({opened[0].strip()})" if opened else ""
            raise DynamicsError(
                f"this LAMMPS has no pair style pace/extrapolation{why}: "
                "run `pyacemaker build-plugin`, or name an lmp that has ML-PACE"
            )
        if lost := _LOST.search(line):
            return (
                f"lost atoms: {lost.group(2)} of {lost.group(1)} are left; "
                "the structure flew apart (a shorter timestep or a better potential helps)"
            )
        if "Too many neighbor bins" in line or "too large for neighbor bins" in line:
            return "the cell or the extent of the atoms grew without bound (it tore apart)"
        if "Non-numeric" in line:
            return f"positions or forces are no longer finite ({_message(line)})"
        return f"LAMMPS: {_message(line)}"
    return None


def _message(line: str) -> str:
    text = line[line.index("ERROR") :]
    return re.sub(r"\s*\(src/[^)]*\)|\s*\([^()]*\.cpp:\d+\)", "", text).strip()
