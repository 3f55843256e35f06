"""What EON leaves in its folder, read into the words of our own state table.

    dynamics.txt                 one line a hop, with the clock
    states/N/reactant.con        the minimum
    states/N/info                its energy, how often each process was found
    states/N/processtable        the ways out: energies (eV), prefactors (1/s), barriers (eV)
    states/N/search_results.txt  how every search ended
    states/N/procdata/           saddle_ID.con, product_ID.con, mode_ID.dat of each way

The program's exit status says nothing: it ends with 0 where not one search has led to a process.
So results are counted, and a file that is cut short is refused by name.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.eon import read_eon

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.geometry import Array, Indices, displacements
from pyacemaker.dynamics.kmc.table import Hop, Mechanism, Search, State

_THz = 1e12
_COLUMNS = 9  # of processtable and of dynamics.txt


def states_of(folder: Path, start: Atoms, order: Indices, potential: str) -> list[State]:
    """Return the states EON knows an energy of, with their ways out.

    `start` is the structure the walk began with: elements, periodicity and what is held are
    its. `order` is how EON has its atoms (see `inputs.order_of`). Raises DynamicsError for a
    damaged file.
    """
    found = []
    for path in sorted((folder / "states").glob("[0-9]*"), key=lambda path: int(path.name)):
        info = _info(path / "info")
        energy = info.get("reactant energy")
        if energy is None:
            continue  # not one search from it has come back
        atoms = structure_of(path / "reactant.con", start, order)
        rows = _rows(path / "processtable", 1)
        searches = searches_of(path)
        found.append(
            State(
                number=int(path.name),
                atoms=atoms,
                energy_eV=float(energy),
                potential=potential,
                searches=len(searches),
                streak=int(info.get("repeats", 0)),
                mechanisms=tuple(
                    _mechanism(path, number, row, atoms, float(energy), order)
                    for number, row in enumerate(rows)
                ),
            )
        )
    return found


def _mechanism(
    state: Path, number: int, row: list[str], atoms: Atoms, energy_eV: float, order: Indices
) -> Mechanism:
    name, barrier = row[0], float(row[6])
    data = state / "procdata"
    saddle = structure_of(data / f"saddle_{name}.con", atoms, order)
    product = structure_of(data / f"product_{name}.con", atoms, order)
    mode = np.zeros((len(atoms), 3))
    mode[order] = _vectors(data / f"mode_{name}.dat", len(atoms))
    return Mechanism(
        number=number,
        barrier_eV=barrier,
        reverse_barrier_eV=barrier - (float(row[4]) - energy_eV),
        prefactor_THz=float(row[2]) / _THz,
        saddle=displacements(atoms, saddle),
        product=displacements(atoms, product),
        mode=mode,
        # EON finds every copy by itself: none is added by symmetry
        copies=((np.eye(3), np.arange(len(atoms))),),
        found=1 + int(row[8]),
    )


def searches_of(state: Path) -> list[Search]:
    """Return how the searches from a state ended: ``new``, ``again``, or EON's own words.

    Their evaluations are as EON counts them: without those that turn the dimer.
    """
    found = []
    for number, row in enumerate(_lines(state / "search_results.txt")[2:]):
        parts = row.split(maxsplit=7)
        if len(parts) < 8:
            raise _damaged(state / "search_results.txt", row)
        word = parts[7].strip()
        outcome = {"good": "new", "repeat": "again"}.get(word.partition("-")[0], word)
        found.append(
            Search(
                state=int(state.name),
                number=number,
                outcome=outcome,
                barrier_eV=float(parts[2]),
                gamma_max=None,
                force_calls=sum(int(part) for part in parts[4:7]),
            )
        )
    return found


def hops_of(folder: Path, states: list[State], potential: str) -> list[Hop]:
    """Return the time line; empty where no hop was made."""
    path = folder / "dynamics.txt"
    if not path.exists():
        return []
    by_number = {state.number: state for state in states}
    ways = {
        state.number: [
            row[0] for row in _rows(folder / "states" / str(state.number) / "processtable", 1)
        ]
        for state in states
    }
    found = []
    for row in _rows(path, 2):
        state = int(row[1])
        if state not in by_number or row[2] not in ways[state]:
            raise _damaged(path, " ".join(row))
        rate = float(row[7])
        waited = float(row[4])
        found.append(
            Hop(
                number=int(row[0]),
                potential=potential,
                state=state,
                mechanism=ways[state].index(row[2]),
                copy=0,
                barrier_eV=float(row[6]),
                rate_per_s=rate,
                total_rate_per_s=sum(
                    float(other[7])
                    for other in _rows(folder / "states" / str(state) / "processtable", 1)
                ),
                waited_s=waited,
                time_s=float(row[5]),
                energy_eV=by_number[state].energy_eV,
            )
        )
    return found


def current_of(folder: Path, start: Atoms, order: Indices) -> Atoms:
    """Return the structure the walk stands at: the product of the last hop, else its start."""
    reactant = folder / "states" / str(current_state(folder)) / "reactant.con"
    return structure_of(reactant, start, order) if reactant.exists() else start.copy()


# ---- counts, while EON works


def current_state(folder: Path) -> int:
    """Return the number of the state the walk stands in."""
    rows = _hop_lines(folder)
    return int(rows[-1].split()[3]) if rows else 0


def hops_made(folder: Path) -> int:
    """Return how many hops are made."""
    return len(_hop_lines(folder))


def searches_started(folder: Path) -> int:
    """Return how many searches were started, whatever came of them."""
    path = folder / "jobs" / "scratch" / "wuid"
    text = path.read_text().strip() if path.exists() else ""
    return int(text or 0)


def searches_made(folder: Path, state: int | None = None) -> int:
    """Return how many searches came back, from one state or from all."""
    which = "*" if state is None else str(state)
    return sum(
        max(0, len(path.read_text().splitlines()) - 2)
        for path in (folder / "states").glob(f"{which}/search_results.txt")
    )


def processes_of(folder: Path, state: int) -> int:
    """Return how many ways out of a state are known."""
    path = folder / "states" / str(state) / "processtable"
    return max(0, len(path.read_text().splitlines()) - 1) if path.exists() else 0


def _hop_lines(folder: Path) -> list[str]:
    path = folder / "dynamics.txt"
    lines = path.read_text().splitlines(keepends=True)[2:] if path.exists() else []
    return [line for line in lines if line.endswith("\n")]  # the last may be half written


# ---- files


def structure_of(path: Path, like: Atoms, order: Indices) -> Atoms:
    """Read a .con file into the order, periodicity and constraints of `like`."""
    try:
        with path.open() as stream:
            read = read_eon(stream)
    except (OSError, ValueError, IndexError, RuntimeError, StopIteration) as error:
        raise DynamicsError(f"{path}: not a structure that EON wrote ({error})") from error
    if isinstance(read, list):
        read = read[-1]
    if (read.numbers != like.numbers[order]).all() if len(read) == len(like) else True:
        raise DynamicsError(f"{path}: {len(read)} atoms, not the {len(like)} that were sent")
    atoms: Atoms = like.copy()
    positions = np.empty_like(atoms.positions)
    positions[order] = read.positions
    atoms.positions = positions
    return atoms


def _vectors(path: Path, count: int) -> Array:
    try:
        found = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise DynamicsError(f"{path}: not a mode that EON wrote ({error})") from error
    if found.shape != (count, 3):
        raise DynamicsError(f"{path}: a mode of shape {found.shape}, not ({count}, 3)")
    return np.asarray(found, dtype=float)


def _info(path: Path) -> Mapping[str, str]:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text())
    except (OSError, configparser.Error) as error:
        raise DynamicsError(f"{path}: not what EON writes ({error})") from error
    return dict(parser["MetaData"]) if parser.has_section("MetaData") else {}


def _rows(path: Path, heads: int) -> list[list[str]]:
    found = []
    for line in _lines(path)[heads:]:
        parts = line.split()
        if len(parts) != _COLUMNS:
            raise _damaged(path, line)
        found.append(parts)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DynamicsError(f"{path}: cannot be read ({error.strerror})") from error


def _damaged(path: Path, line: str) -> DynamicsError:
    return DynamicsError(
        f"{path}: a line that EON does not write ({line.strip()[:60]!r}); remove the folder "
        f"{path.parent} to walk again"
    )
