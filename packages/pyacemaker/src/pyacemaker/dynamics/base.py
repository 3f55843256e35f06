"""The one interface of every explorer that moves atoms in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ase import Atoms


@dataclass(frozen=True)
class MDRequest:
    """One stretch of molecular dynamics.

    `atoms` may carry momenta; they are then used as they are, otherwise velocities are
    drawn at `temperature_K[0]` from `seed`. `pressure_GPa` is None for NVT.
    The run halts when the largest gamma of any atom exceeds `gamma_halt`, looked at
    before the first step and then every `check_every` steps.
    """

    atoms: Atoms
    potential: Path
    temperature_K: tuple[float, float]
    steps: int
    timestep_fs: float
    gamma_halt: float
    check_every: int = 10
    pressure_GPa: float | None = None
    seed: int = 1
    timeout_s: float | None = None


@dataclass(frozen=True)
class GammaSample:
    """One look at the watchdog: gamma is the largest of any atom."""

    step: int
    time_fs: float
    temperature_K: float
    gamma_max: float


@dataclass(frozen=True)
class MDResult:
    """How a stretch of MD ended.

    `status` is `completed` (all steps done), `halted` (gamma crossed the threshold) or
    `failed` (the engine died, atoms were lost, energies were not finite; `message`
    says what). `frame` is the last frame: positions, cell, momenta, and the array
    `gamma` (one value an atom). `steps_done` counts the steps actually made.
    """

    status: Literal["completed", "halted", "failed"]
    steps_done: int
    frame: Atoms
    trace: tuple[GammaSample, ...]
    engine: str
    message: str = ""
    wall_s: float = 0.0
    warnings: tuple[str, ...] = field(default_factory=tuple)


class DynamicsError(RuntimeError):
    """The engine cannot be used at all; the message gives the remedy."""


class Dynamics(Protocol):
    """Runs molecular dynamics with a potential that knows its own extrapolation grade."""

    @property
    def name(self) -> str:
        """Short name for reports: ``lammps``, ``ase``."""

    def run(self, request: MDRequest, workdir: Path) -> MDResult:
        """Run in `workdir` (made if missing, emptied if not) and return how it ended.

        Deterministic: the same request gives the same result on the same machine.
        """
