"""Molecular dynamics with a watchdog on gamma: by LAMMPS, or by ASE where LAMMPS cannot run."""

from pyacemaker.dynamics.ase_md import ASEDynamics
from pyacemaker.dynamics.base import Dynamics, DynamicsError, GammaSample, MDRequest, MDResult
from pyacemaker.dynamics.choose import make_dynamics
from pyacemaker.dynamics.lammps import LammpsDynamics, SinglePoint
from pyacemaker.dynamics.start import MDRequestError

__all__ = [
    "ASEDynamics",
    "Dynamics",
    "DynamicsError",
    "GammaSample",
    "LammpsDynamics",
    "MDRequest",
    "MDRequestError",
    "MDResult",
    "SinglePoint",
    "make_dynamics",
]
