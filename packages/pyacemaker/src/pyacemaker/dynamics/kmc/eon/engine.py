"""Adaptive kinetic Monte Carlo by EON, over our landscape."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from ase import Atoms

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.adaptive import digest_of
from pyacemaker.dynamics.kmc.base import KMCRequest, KMCResult, Progress
from pyacemaker.dynamics.kmc.eon.forces import ForceServer
from pyacemaker.dynamics.kmc.eon.inputs import (
    CONFIG,
    POSITIONS,
    config_text,
    order_of,
    positions_text,
)
from pyacemaker.dynamics.kmc.eon.installation import Installation
from pyacemaker.dynamics.kmc.eon.results import current_of, hops_of, searches_of, states_of
from pyacemaker.dynamics.kmc.table import FILE_NAME, StateTable, structure_from, structure_text
from pyacemaker.files import write_whole
from pyacemaker.process import run_program

_LOG = "eon.log"


class EONKMC:
    """The walk of ``eon-server -C``, its searches by ``eonclient`` (https://eondocs.org)."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    @property
    def name(self) -> str:
        """Return ``eon``."""
        return "eon"

    def run(self, request: KMCRequest, workdir: Path, progress: Progress) -> KMCResult:
        """Walk. See `dynamics.kmc.base.KMCEngine`.

        EON keeps its own tables below `workdir/eon` and goes on from them. What it found with
        another potential it cannot check again: with a saved table the walk begins anew from
        the structure that walk had come to, its clock running on.

        Raises
        ------
        DynamicsError
            If EON ended without a single result, or a file of its is damaged.
        """
        begun = time.monotonic()
        start, before_s = _start(request)
        order = order_of(start)
        folder = _folder(request, workdir, start)
        with ForceServer(start, order, request.landscape) as forces:
            text = config_text(
                request.settings, request.seed, self._installation.client, forces.program
            )
            write_whole(folder / CONFIG, text)
            told = 0

            def watch(pid: int) -> str | None:
                nonlocal told
                made = _made(folder)
                if made > told:
                    told = made
                    progress(made, request.settings.events, f"{_searched(folder)} searches")
                return "halted" if forces.halt or forces.error else None

            done = run_program(
                [self._installation.server, "-C", CONFIG],
                cwd=folder,
                stdout=folder / _LOG,
                timeout_s=request.timeout_s,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                watch=watch,
            )
        if forces.error is not None:
            raise DynamicsError(f"EON's walk stopped: {forces.error}") from forces.error
        states = states_of(folder, start, order, request.landscape.name)
        hops = hops_of(folder, states, request.landscape.name)
        searches = [
            one
            for path in sorted((folder / "states").glob("[0-9]*"), key=lambda p: int(p.name))
            for one in searches_of(path)
        ]
        current = current_of(folder, start, order)
        if forces.halt is not None:
            status, frame = "halted", forces.halt.frame
            message = f"gamma {forces.halt.gamma:.3g} exceeds {request.landscape.gamma_halt:g} "
            message += f"after {len(hops)} hops, in EON's searches"
        elif len(hops) >= request.settings.events:
            status, message, frame = "completed", "", current
        else:
            status, frame = "failed", current
            found = sum(len(state.mechanisms) for state in states)
            message = (
                f"EON ended ({done.describe()}) after {len(hops)} of {request.settings.events} "
                f"hops: {found} processes from {len(searches)} searches; see {folder / _LOG}"
            )
            if not searches and not done.timed_out:
                raise DynamicsError(f"{message}{_last_words(folder / _LOG)}")
        time_s = before_s + (hops[-1].time_s if hops else 0.0)
        path = workdir / FILE_NAME
        with StateTable(path) as table:
            for state in states:
                table.save_state(state)
            for hop in hops:
                table.save_hop(hop, {})
            table.set_fact("current", structure_text(current))
            table.set_fact("time_s", time_s)
        return KMCResult(
            status=status,  # type: ignore[arg-type]
            frame=frame,
            states=tuple(states),
            searches=tuple(searches),
            hops=tuple(hops),
            time_s=time_s,
            table=path,
            engine=self.name,
            message=message,
            wall_s=time.monotonic() - begun,
        )


def _start(request: KMCRequest) -> tuple[Atoms, float]:
    """Return where the walk begins and what its clock (s) says by then."""
    if request.table is None:
        return request.atoms, 0.0
    with StateTable(request.table) as table:
        current = table.fact("current")
        time_s = float(table.fact("time_s") or 0.0)
    return (structure_from(current) if current else request.atoms), time_s


def _folder(request: KMCRequest, workdir: Path, start: Atoms) -> Path:
    """Return EON's folder: this walk's own as it stands, or a new one with its start."""
    folder = workdir / "eon"
    mark = folder / "walk"
    digest = digest_of(request)
    if mark.exists() and mark.read_text() == digest:
        return folder
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_whole(folder / POSITIONS, positions_text(start))
    write_whole(mark, digest)
    (workdir / FILE_NAME).unlink(missing_ok=True)
    return folder


def _made(folder: Path) -> int:
    path = folder / "dynamics.txt"
    return max(0, len(path.read_text().splitlines()) - 2) if path.exists() else 0


def _searched(folder: Path) -> int:
    return sum(
        max(0, len(path.read_text().splitlines()) - 2)
        for path in (folder / "states").glob("*/search_results.txt")
    )


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"; its last line: {lines[-1][:200]}" if lines else ""
