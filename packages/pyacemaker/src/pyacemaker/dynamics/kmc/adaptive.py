"""The built-in engine: search until a state is known, draw the way out, move the clock."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from pyacemaker.dynamics.kmc.base import KMCRequest, KMCResult, Progress
from pyacemaker.dynamics.kmc.clock import next_event
from pyacemaker.dynamics.kmc.geometry import (
    Array,
    Mapping,
    displacements,
    farthest,
    lattice_rotations,
    mappings,
)
from pyacemaker.dynamics.kmc.landscape import LostSearchError, UncertainError
from pyacemaker.dynamics.kmc.prefactor import rate
from pyacemaker.dynamics.kmc.recheck import rechecked
from pyacemaker.dynamics.kmc.search import search
from pyacemaker.dynamics.kmc.start import check_start
from pyacemaker.dynamics.kmc.table import (
    FILE_NAME,
    Hop,
    Mechanism,
    Search,
    State,
    StateTable,
    TableError,
    structure_from,
    structure_text,
)

# Streams of the one seed: searches of a state and hops of the walk never share draws.
_SEARCHES, _HOPS = 1, 2
# How far it goes, and what a campaign asks of it, do not change what a walk comes to.
_NOT_OF_THE_WALK = {"eon", "events", "gamma_halt", "barriers_checked", "barrier_error_eV"}
# A walk whose hops mostly undo each other is caught; it says so.
_BACK_AND_FORTH, _LEAST_HOPS = 0.8, 10


@dataclass(frozen=True)
class _Way:
    mechanism: Mechanism
    copy: int
    rate_per_s: float


class _TimeLimitError(Exception):
    pass


class AdaptiveKMC:
    """Adaptive kinetic Monte Carlo (Henkelman and Jonsson, J. Chem. Phys. 115, 9657, 2001).

    Saddle searches by ASE's dimer from every state the walk comes to, until the confidence
    1 - 1/N of Xu and Henkelman (J. Chem. Phys. 129, 114104, 2008) is reached; harmonic
    prefactors; ways that are one by the symmetry of the state are found once and counted all;
    states that are one but for symmetry and the names of atoms are searched once.
    """

    @property
    def name(self) -> str:
        """Return ``akmc``."""
        return "akmc"

    def run(self, request: KMCRequest, workdir: Path, progress: Progress) -> KMCResult:
        """Walk. See `dynamics.kmc.base.KMCEngine`.

        Raises
        ------
        DynamicsError
            If it cannot be walked from the start, or the potential cannot evaluate it.
        TableError
            If the saved table is damaged.
        """
        begun = time.monotonic()
        check_start(request.atoms)
        path = _prepared_table(request, workdir)
        with StateTable(path) as table:
            walk = _Walk(request, table, progress, begun)
            status, message, frame = walk.go()
            hops = tuple(h for h in table.hops() if h.potential == request.landscape.name)
            return KMCResult(
                status=status,  # type: ignore[arg-type]
                frame=frame,
                states=tuple(s for s in table.states() if s.potential == request.landscape.name),
                searches=tuple(table.searches()),
                hops=hops,
                time_s=walk.time_s,
                table=path,
                engine=self.name,
                message=message,
                wall_s=time.monotonic() - begun,
                warnings=(*walk.warnings, *_superbasin(walk.returned, walk.made)),
            )


def digest_of(request: KMCRequest) -> str:
    """Return what identifies a walk: the same digest goes on from a table as it stands."""
    science = request.settings.model_dump(mode="json", exclude=_NOT_OF_THE_WALK)
    parts = [
        structure_text(request.atoms),
        request.landscape.name,
        json.dumps([science, request.seed, request.landscape.gamma_halt], sort_keys=True),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _prepared_table(request: KMCRequest, workdir: Path) -> Path:
    """Return the table to work in: this walk's own if it was begun, else a copy of the saved."""
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / FILE_NAME
    digest = digest_of(request)
    if path.exists():
        with StateTable(path) as table:
            if table.fact("digest") == digest:
                return path
            # one that never came to its first state holds nothing to lose
            if request.table is None and table.states():
                raise TableError(
                    f"{path} holds another walk (its structure, potential, settings or seed "
                    "differ): name another folder, or remove it"
                )
        path.unlink()
    if request.table is not None:
        fresh = path.with_name(f".{FILE_NAME}.copy")
        shutil.copyfile(request.table, fresh)
        fresh.replace(path)
    with StateTable(path) as table:
        table.set_fact("digest", digest)
    return path


class _Walk:
    """One walk in its table."""

    def __init__(
        self, request: KMCRequest, table: StateTable, progress: Progress, begun: float
    ) -> None:
        self.request = request
        self.settings = request.settings
        self.landscape = request.landscape
        self.table = table
        self.progress = progress
        self.begun = begun
        self.states = table.states()
        self.rotations = lattice_rotations(request.atoms)
        self.warnings: list[str] = []
        self.time_s = float(table.fact("time_s") or 0.0)
        current = table.fact("current")
        self.current: Atoms = structure_from(current) if current else request.atoms.copy()
        made = table.hops()
        self.made = len(made)
        self.done = sum(hop.potential == self.landscape.name for hop in made)
        self.returned = int(table.fact("returned") or 0)

    def go(self) -> tuple[str, str, Atoms]:
        """Walk to the end, a halt or a failure: status, message, and the frame."""
        try:
            while self.done < self.settings.events:
                state, mapping = self._here()
                state = self._known_well(state)
                ways = self._ways(state)
                if not ways:
                    return (
                        "failed",
                        f"no way out of state {state.number} was found in {state.searches} "
                        "searches; more searches (max_searches), another displacement "
                        "(displacement_A, radius_A) or a higher max_barrier_eV may help",
                        self.current,
                    )
                self._hop(state, mapping, ways)
        except UncertainError as halt:
            where = f"after {self.done} hops, in state {len(self.states) - 1 if self.states else 0}"
            limit = self.landscape.gamma_halt
            return "halted", f"gamma {halt.gamma:.3g} exceeds {limit:g} {where}", halt.frame
        except _TimeLimitError:
            limit = self.request.timeout_s
            return "failed", f"stopped at its time limit ({limit:g} s)", self.current
        except LostSearchError as lost:
            return "failed", f"the walk came to a structure with no minimum: {lost}", self.current
        return "completed", "", self.current

    # ---- where the walk stands

    def _here(self) -> tuple[State, Mapping]:
        """Return the state the walk stands in, and how its structure lies on the current one.

        A state unknown so far is relaxed and added; one known from another potential is
        checked again.
        """
        found = self._recognised()
        if found is None:
            found = self._added()
        state, mapping = found
        if state.potential != self.landscape.name:
            state = rechecked(state, self.landscape, self.settings)
            self._keep(state)
            again = next(
                mappings(state.atoms, self.current, 2 * self.settings.same_A, self.rotations), None
            )
            if again is None:  # with this potential the atoms lie elsewhere
                self.current = self._on(state, mapping)
            else:
                mapping = again
        self.current = self._on(state, mapping)
        return state, mapping

    def _recognised(self) -> tuple[State, Mapping] | None:
        for state in self.states:
            for mapping in mappings(
                state.atoms, self.current, self.settings.same_A, self.rotations
            ):
                return state, mapping
        return None

    def _added(self) -> tuple[State, Mapping]:
        atoms, energy = self.landscape.relaxed(
            self.current, self.settings.fmax_eV_per_A, self.settings.max_steps
        )
        self.current = atoms
        if (known := self._recognised()) is not None:  # the start, not yet relaxed, lay beside it
            return known
        state = State(len(self.states), atoms, energy, self.landscape.name)
        self.states.append(state)
        self.table.save_state(state, facts={"current": structure_text(self.current)})
        identity = Mapping(np.eye(3), np.zeros(3), np.arange(len(atoms)))
        return state, identity

    def _on(self, state: State, mapping: Mapping) -> Atoms:
        """Return the state's structure where the current one lies: no error adds up."""
        exact: Atoms = self.current.copy()
        target: Array = np.empty_like(exact.positions)
        target[mapping.order] = state.atoms.positions @ mapping.rotation + mapping.translation
        moved: Atoms = self.current.copy()
        moved.positions = target
        exact.positions = self.current.positions + displacements(self.current, moved)
        return exact

    def _keep(self, state: State, made: Search | None = None) -> None:
        self.states[state.number] = state
        self.table.save_state(state, made)

    # ---- searching

    def _known_well(self, state: State) -> State:
        """Search until the confidence is reached, or the most searches are made."""
        while state.confidence < self.settings.confidence:
            if state.searches >= self.settings.max_searches:
                text = (
                    f"state {state.number} is known at a confidence of {state.confidence:.2f}, "
                    f"not {self.settings.confidence:g}, after {state.searches} searches"
                )
                if state.mechanisms and text not in self.warnings:
                    self.warnings.append(text)
                break
            self._look_at_the_clock()
            state = self._searched(state)
            self.progress(
                self.done,
                self.settings.events,
                f"state {state.number}: {len(state.mechanisms)} mechanisms, search "
                f"{state.searches}, confidence {state.confidence:.2f}",
            )
        return state

    def _searched(self, state: State) -> State:
        rng = np.random.default_rng([self.request.seed, _SEARCHES, state.number, state.searches])
        self.landscape.gamma_max = None
        before = self.landscape.force_calls
        found = search(state, rng, self.landscape, self.settings)
        made = Search(
            state=state.number,
            number=state.searches,
            outcome=found.outcome,
            barrier_eV=found.barrier_eV,
            gamma_max=self.landscape.gamma_max,
            force_calls=self.landscape.force_calls - before,
        )
        self._keep(found.state, made)
        return found.state

    def _look_at_the_clock(self) -> None:
        limit = self.request.timeout_s
        if limit is not None and time.monotonic() - self.begun > limit:
            raise _TimeLimitError

    # ---- walking

    def _ways(self, state: State) -> list[_Way]:
        kelvin = self.settings.temperature_K
        return [
            _Way(one, index, rate(one.barrier_eV, one.prefactor_THz, kelvin))
            for one in state.mechanisms
            for index in range(len(one.copies))
        ]

    def _hop(self, state: State, mapping: Mapping, ways: list[_Way]) -> None:
        number = self.made
        rng = np.random.default_rng([self.request.seed, _HOPS, number])
        rates = [way.rate_per_s for way in ways]
        chosen, waited = next_event(rates, rng)
        way = ways[chosen]
        moved = mapping.carried(way.mechanism.copy_of(way.mechanism.product, way.copy))
        after: Atoms = self.current.copy()
        after.positions = self.current.positions + moved
        self.time_s += waited
        hop = Hop(
            number=number,
            potential=self.landscape.name,
            state=state.number,
            mechanism=way.mechanism.number,
            copy=way.copy,
            barrier_eV=way.mechanism.barrier_eV,
            rate_per_s=way.rate_per_s,
            total_rate_per_s=float(np.sum(rates)),
            waited_s=waited,
            time_s=self.time_s,
            energy_eV=state.energy_eV,
        )
        before: NDArray[np.float64] | None = None
        if (text := self.table.fact("before")) is not None:
            before = structure_from(text).positions
        returned = before is not None and bool(
            farthest(before - after.positions) < 2 * self.settings.same_A
        )
        facts = {
            "current": structure_text(after),
            "before": structure_text(self.current),
            "time_s": self.time_s,
            "returned": self.returned + returned,
        }
        self.table.save_hop(hop, facts)
        self.current = after
        self.made += 1
        self.done += 1
        self.returned += returned
        self.progress(self.done, self.settings.events, f"{self.time_s:.3g} s")


def _superbasin(returned: int, hops: int) -> tuple[str, ...]:
    if hops < _LEAST_HOPS or returned < _BACK_AND_FORTH * hops:
        return ()
    return (
        f"{100 * returned / hops:.0f} % of the hops undid the one before: the walk is caught in "
        "a superbasin of low barriers, and its clock moves by their short times. A higher "
        "temperature, or rates of the higher barriers from the table, tell more",
    )
