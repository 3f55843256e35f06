"""One saddle search from a state, and what it adds to what is known of the ways out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms, units

from pyacemaker.dynamics.kmc.climb import Saddle, climb, random_start
from pyacemaker.dynamics.kmc.geometry import Array, Indices, displacements, farthest, mappings
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError
from pyacemaker.dynamics.kmc.prefactor import vineyard_prefactor
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.dynamics.kmc.table import Mechanism, State

_OFF_THE_SADDLE_A = 0.15
_SAME_BARRIER_EV = 0.02
# A copy by symmetry lies on the same hill: its energy must be that of the saddle found.
_SAME_ENERGY_EV = 5e-3


@dataclass(frozen=True)
class Found:
    """What a search led to: the state as it is now known, and the outcome in a word.

    ``new``, ``again``, ``too_high`` (above the highest barrier), ``elsewhere`` (the saddle
    belongs to other states), ``back`` (downhill on both sides into the same state), or
    ``lost``.
    """

    state: State
    outcome: str
    barrier_eV: float | None = None


def search(
    state: State, rng: np.random.Generator, landscape: Landscape, settings: KMCSettings
) -> Found:
    """Make one search. Raises UncertainError where gamma is too large on the way."""
    start = random_start(state.atoms, rng, settings)
    searched = replace(state, searches=state.searches + 1)
    try:
        saddle = climb(state.atoms, state.energy_eV, start, start, landscape, settings)
        return judged(searched, saddle, landscape, settings)
    except LostSearchError:
        return Found(searched, "lost")


def judged(state: State, saddle: Saddle, landscape: Landscape, settings: KMCSettings) -> Found:
    """Say what a saddle point is to `state`. Raises LostSearchError, UncertainError."""
    barrier = saddle.energy_eV - state.energy_eV
    if barrier > settings.max_barrier_eV:
        return Found(state, "too_high", barrier)
    moved = displacements(state.atoms, saddle.atoms)
    known = _known(state, moved, barrier, settings)
    if known is not None:
        return Found(_counted(state, known, settings), "again", barrier)
    mechanism = connected(state, saddle, landscape, settings)
    if isinstance(mechanism, str):
        return Found(state, mechanism, barrier)
    mechanisms = (*state.mechanisms, mechanism)
    relevant = is_relevant(mechanism, mechanisms, settings)
    grown = replace(state, mechanisms=mechanisms, streak=0 if relevant else state.streak)
    return Found(grown, "new", barrier)


def connected(
    state: State, saddle: Saddle, landscape: Landscape, settings: KMCSettings
) -> Mechanism | str:
    """Return the mechanism a saddle point is the top of, or why it is none of `state`.

    Both sides of the saddle are relaxed: one must lead back into the state (atom by atom),
    the other out of it. Raises LostSearchError where it is no saddle point of first order.
    """
    ends = []
    for side in (1.0, -1.0):
        pushed: Atoms = saddle.atoms.copy()
        step = saddle.mode / np.linalg.norm(saddle.mode, axis=1).max()
        pushed.positions += side * _OFF_THE_SADDLE_A * step
        ends.append(landscape.relaxed(pushed, settings.fmax_eV_per_A, settings.max_steps))
    home = [farthest(displacements(state.atoms, atoms)) < settings.same_A for atoms, _ in ends]
    if all(home):
        return "back"
    if not any(home):
        return "elsewhere"
    product, energy = ends[home.index(False)]
    prefactor = settings.prefactor_THz
    if prefactor is None:
        prefactor = vineyard_prefactor(state.atoms, saddle.atoms, product, landscape)
    moved = displacements(state.atoms, saddle.atoms)
    return Mechanism(
        number=1 + max((one.number for one in state.mechanisms), default=-1),
        barrier_eV=saddle.energy_eV - state.energy_eV,
        reverse_barrier_eV=saddle.energy_eV - energy,
        prefactor_THz=prefactor,
        saddle=moved,
        product=displacements(state.atoms, product),
        mode=np.asarray(saddle.mode),
        copies=copies(state, moved, saddle.energy_eV, landscape, settings),
        gamma=saddle.gamma,
    )


def copies(
    state: State, moved: Array, energy_eV: float, landscape: Landscape, settings: KMCSettings
) -> tuple[tuple[Array, Indices], ...]:
    """Return the different ways that are this one by the symmetry of the state.

    `moved` (N x 3, angstrom) leads from the state to the saddle point. Each copy's energy is
    computed and must be the saddle's; one that differs is left to be found by itself.
    """
    identity = np.arange(len(state.atoms))
    kept: list[tuple[Array, Indices]] = [(np.eye(3), identity)]
    shapes = [moved]
    probe = landscape.attached(state.atoms)
    for mapping in mappings(state.atoms, state.atoms, settings.same_A / 2):
        turned = mapping.carried(moved)
        if any(farthest(turned - shape) < settings.same_A for shape in shapes):
            continue
        probe.positions = state.atoms.positions + turned
        if abs(float(probe.get_potential_energy()) - energy_eV) < _SAME_ENERGY_EV:
            kept.append((mapping.rotation, mapping.order))
            shapes.append(turned)
    return tuple(kept)


def _known(
    state: State, moved: Array, barrier_eV: float, settings: KMCSettings
) -> Mechanism | None:
    for one in state.mechanisms:
        if abs(one.barrier_eV - barrier_eV) > _SAME_BARRIER_EV:
            continue
        for index in range(len(one.copies)):
            if farthest(one.copy_of(one.saddle, index) - moved) < settings.same_A:
                return one
    return None


def _counted(state: State, known: Mechanism, settings: KMCSettings) -> State:
    counted = tuple(
        replace(one, found=one.found + 1) if one.number == known.number else one
        for one in state.mechanisms
    )
    more = 1 if is_relevant(known, state.mechanisms, settings) else 0
    return replace(state, mechanisms=counted, streak=state.streak + more)


def is_relevant(mechanism: Mechanism, among: tuple[Mechanism, ...], settings: KMCSettings) -> bool:
    """Say whether a barrier is low enough, beside the lowest, to count for the confidence."""
    lowest = min(one.barrier_eV for one in among)
    window = settings.window_kT * units.kB * settings.temperature_K
    return bool(mechanism.barrier_eV <= lowest + window)
