"""Molecular dynamics with a watchdog on gamma: by LAMMPS, or by ASE where LAMMPS cannot run.

`choose.make_dynamics` is the way in. Nothing is imported here, so that reading a configuration
(`kmc.settings`) stays fast.
"""
