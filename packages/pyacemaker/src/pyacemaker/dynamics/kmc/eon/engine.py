"""Adaptive kinetic Monte Carlo by EON, over our landscape."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
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
from pyacemaker.dynamics.kmc.eon.results import (
    current_of,
    current_state,
    hops_made,
    hops_of,
    processes_of,
    searches_made,
    searches_of,
    searches_started,
    states_of,
    structure_of,
)
from pyacemaker.dynamics.kmc.geometry import Indices, free_atoms
from pyacemaker.dynamics.kmc.landscape import LostSearchError, UncertainError
from pyacemaker.dynamics.kmc.start import check_start
from pyacemaker.dynamics.kmc.table import (
    FILE_NAME,
    Hop,
    State,
    StateTable,
    TableError,
    structure_from,
    structure_text,
)
from pyacemaker.files import write_whole
from pyacemaker.process import Finished, run_program

_LOG = "eon.log"
_MARK = "walk"
_HALTED = "halted"
_ENOUGH = "as many searches as one state may have"
_LOST = "its searches end without results; see jobs/scratch/*/stderr.dat in its folder"


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
            If it cannot be walked from the start, EON ended without a single result, or a file of
            its is damaged.
        TableError
            If another walk was begun in `workdir`.
        """
        begun = time.monotonic()
        check_start(request.atoms)
        start, before_s = _start(request)
        order = order_of(start)
        folder = _folder(request, workdir)
        warnings: list[str] = []
        done = Finished(0, 0.0, timed_out=False)
        try:
            start = _begun(request, folder, start, order)
        except UncertainError as met:
            halt: UncertainError | None = met
        else:
            with ForceServer(start, order, request.landscape) as forces:
                walk = _Walk(self._installation, request, folder, forces, progress)
                done, warnings = walk.go(), walk.warnings
            if forces.error is not None:
                raise DynamicsError(f"EON's walk stopped: {forces.error}") from forces.error
            halt = forces.halt
        states = states_of(folder, start, order, request.landscape.name)
        hops = [
            replace(hop, time_s=before_s + hop.time_s)
            for hop in hops_of(folder, states, request.landscape.name)
        ]
        states = _below(states, hops, request.settings.max_barrier_eV)
        searches = [
            one
            for path in sorted((folder / "states").glob("[0-9]*"), key=lambda p: int(p.name))
            for one in searches_of(path)
        ]
        current = current_of(folder, start, order)
        if halt is not None:
            status, frame = "halted", halt.frame
            message = f"gamma {halt.gamma:.3g} exceeds {request.landscape.gamma_halt:g} "
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
        time_s = hops[-1].time_s if hops else before_s
        path = workdir / FILE_NAME
        with StateTable(path) as table:
            table.set_fact("digest", digest_of(request))
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
            warnings=tuple(warnings),
        )


class _Walk:
    """One walk in EON's folder: eon-server, run until all hops are made."""

    def __init__(
        self,
        installation: Installation,
        request: KMCRequest,
        folder: Path,
        forces: ForceServer,
        progress: Progress,
    ) -> None:
        self._installation = installation
        self._request = request
        self._settings = request.settings
        self._folder = folder
        self._forces = forces
        self._progress = progress
        self._deadline = None if request.timeout_s is None else time.monotonic() + request.timeout_s
        self._lost_before = searches_started(folder) - searches_made(folder)
        self.warnings: list[str] = []

    def go(self) -> Finished:
        """Run EON to the end, a halt or a failure, and return how it ended.

        Where a state has had the most searches it may have, one hop is made by the processes
        that are known, as the built-in engine does; EON itself would search on for ever.
        """
        done = Finished(0, 0.0, timed_out=False)
        while (left := self._settings.events - hops_made(self._folder)) > 0:
            done = self._server(left, self._settings.confidence)
            state = current_state(self._folder)
            if done.stopped != _ENOUGH or processes_of(self._folder, state) == 0:
                break
            self.warnings.append(
                f"state {state} is known at a confidence below {self._settings.confidence:g} "
                f"after {searches_made(self._folder, state)} searches"
            )
            before = hops_made(self._folder)
            done = self._server(1, 0.0)
            if hops_made(self._folder) == before:
                break
        return done

    def _server(self, steps: int, confidence: float) -> Finished:
        text = config_text(
            self._settings,
            self._request.seed,
            self._installation.client,
            self._forces.program,
            free_atoms=len(free_atoms(self._request.atoms)),
            steps=steps,
            confidence=confidence,
        )
        write_whole(self._folder / CONFIG, text)
        left_s = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        return run_program(
            [self._installation.server, "-C", CONFIG],
            cwd=self._folder,
            stdout=self._folder / _LOG,
            timeout_s=left_s,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            watch=self._watch(limited=confidence > 0),
        )

    def _watch(self, *, limited: bool) -> Callable[[int], str | None]:
        told = ""
        most = self._settings.max_searches

        def watch(_: int) -> str | None:
            nonlocal told
            made = searches_made(self._folder)
            state = current_state(self._folder)
            here = searches_made(self._folder, state)
            text = f"state {state}: {processes_of(self._folder, state)} processes, search {here}"
            if text != told:
                told = text
                self._progress(hops_made(self._folder), self._settings.events, text)
            if self._forces.halt or self._forces.error:
                return _HALTED
            if searches_started(self._folder) - made - self._lost_before > most:
                return _LOST
            # One more than it may have: with the last it may have become known well enough.
            return _ENOUGH if limited and here > most else None

        return watch


def _start(request: KMCRequest) -> tuple[Atoms, float]:
    """Return where the walk begins and what its clock (s) says by then."""
    if request.table is None:
        return request.atoms, 0.0
    with StateTable(request.table) as table:
        current = table.fact("current")
        time_s = float(table.fact("time_s") or 0.0)
    return (structure_from(current) if current else request.atoms), time_s


def _folder(request: KMCRequest, workdir: Path) -> Path:
    """Return EON's folder: this walk's own as it stands, or a new one."""
    folder = workdir / "eon"
    mark, table = folder / _MARK, workdir / FILE_NAME
    digest = digest_of(request)
    if mark.exists() and mark.read_text() == digest:
        (folder / "lockfile").unlink(missing_ok=True)  # of a server that was killed
        return folder
    if request.table is None and (mark.exists() or table.exists()):
        raise TableError(
            f"{workdir} holds another walk (its structure, potential, engine, settings or seed "
            "differ): name another folder, or remove it"
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_whole(mark, digest)
    table.unlink(missing_ok=True)
    return folder


def _begun(request: KMCRequest, folder: Path, start: Atoms, order: Indices) -> Atoms:
    """Return the minimum the walk begins in, written for EON where that is not done yet.

    EON takes the structure it is given for its first state, relaxed or not. Raises
    UncertainError where gamma is too large on the way, DynamicsError where there is no minimum.
    """
    path = folder / POSITIONS
    if not path.exists():
        settings = request.settings
        try:
            start, _ = request.landscape.relaxed(start, settings.fmax_eV_per_A, settings.max_steps)
        except LostSearchError as lost:
            raise DynamicsError(f"the walk's structure has no minimum near it: {lost}") from lost
        write_whole(path, positions_text(start))
    return structure_of(path, start, order)


def _below(states: list[State], hops: list[Hop], limit_eV: float) -> list[State]:
    """Leave out barriers above the limit, but for those a hop went over."""
    taken = {(hop.state, hop.mechanism) for hop in hops}
    return [
        replace(
            state,
            mechanisms=tuple(
                one
                for one in state.mechanisms
                if one.barrier_eV <= limit_eV or (state.number, one.number) in taken
            ),
        )
        for state in states
    ]


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"; its last line: {lines[-1][:200]}" if lines else ""
