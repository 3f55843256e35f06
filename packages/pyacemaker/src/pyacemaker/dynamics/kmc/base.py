"""What a walk is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ase import Atoms

from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.dynamics.kmc.table import Hop, Search, State

if TYPE_CHECKING:
    from pyacemaker.dynamics.kmc.landscape import Landscape

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class KMCRequest:
    """One walk: from `atoms` over `landscape`, `settings.events` hops long.

    `table` is a saved state table of an earlier walk to go on from: it is copied, what it
    holds is checked again where the potential is another one, and the walk goes on from the
    structure it had come to. Fixed atoms (FixAtoms) stay where they are.
    """

    atoms: Atoms
    landscape: Landscape
    settings: KMCSettings
    seed: int
    table: Path | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class KMCResult:
    """How a walk ended.

    `status` is `completed` (all hops made), `halted` (gamma crossed the threshold; `frame`
    is that structure, with the array `gamma`) or `failed` (no way out was found, or a time
    limit; `message` says what). `frame` is otherwise where the walk stands. `states` are those
    known with this very potential, `hops` those made with it; `time_s` is the clock over the
    whole time line.
    """

    status: Literal["completed", "halted", "failed"]
    frame: Atoms
    states: tuple[State, ...]
    searches: tuple[Search, ...]
    hops: tuple[Hop, ...]
    time_s: float
    table: Path
    engine: str
    message: str = ""
    wall_s: float = 0.0
    warnings: tuple[str, ...] = field(default_factory=tuple)


class KMCEngine(Protocol):
    """Runs adaptive kinetic Monte Carlo."""

    @property
    def name(self) -> str:
        """Short name for reports: ``akmc``, ``eon``."""

    def run(self, request: KMCRequest, workdir: Path, progress: Progress) -> KMCResult:
        """Walk, with all files in `workdir`, and return how it ended.

        A walk of the same request that was killed in `workdir` goes on from its table there
        and ends as it would have undisturbed.
        """
