"""Molecular dynamics by LAMMPS with any model: `FixModel`, or `python -m rootstock.lammps`."""

from rootstock.lammps.fix import FixModel
from rootstock.lammps.library import load_lammps

__all__ = ["FixModel", "load_lammps"]
