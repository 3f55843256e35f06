"""LAMMPS inputs, written line by line: units metal (angstrom, ps, eV, bar, g/mol)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from pyacemaker.dynamics.base import MDRequest
from pyacemaker.dynamics.box import LammpsBox
from pyacemaker.dynamics.start import (
    collapse_distance,
    frozen_atoms,
    runaway_temperature,
)

DATA = "start.data"
INPUT = "in.lammps"
LOG = "log.lammps"
TRACE = "trace.txt"
SNAPSHOTS = "snapshots.dump"
FINAL = "final.dump"
PRESSURE = "pressure.txt"
FINISHED = "pyacemaker: the input was run to its end"
WATCHDOGS = {"gamma_watchdog": "gamma", "heat_watchdog": "heat", "collapse_watchdog": "collapse"}

_BAR_PER_GPA = 1e4
_METAL_VELOCITY = units.Angstrom / (1000.0 * units.fs)  # angstrom/ps in ASE's units
_MOST_SNAPSHOTS = 50
_COLUMNS = "id xu yu zu vx vy vz"


@dataclass(frozen=True)
class AtomTypes:
    """LAMMPS atom types: one for each pair of element and mass.

    `of_atom` holds the type of each atom (N, from 1), `elements` and `masses` (g/mol) those
    of each type.
    """

    of_atom: NDArray[np.int64]
    elements: tuple[str, ...]
    masses: tuple[float, ...]

    @classmethod
    def of(cls, atoms: Atoms) -> AtomTypes:
        """Return the types of `atoms`, numbered in order of element, then mass."""
        keys = list(zip(atoms.get_chemical_symbols(), map(float, atoms.get_masses()), strict=True))
        kinds = sorted(set(keys))
        number = {kind: i for i, kind in enumerate(kinds, start=1)}
        return cls(
            np.array([number[key] for key in keys], dtype=np.int64),
            tuple(element for element, _ in kinds),
            tuple(mass for _, mass in kinds),
        )


def metal_velocities(atoms: Atoms) -> NDArray[np.float64]:
    """Return the velocities of `atoms` (N x 3) in angstrom/ps."""
    return np.asarray(atoms.get_velocities() / _METAL_VELOCITY, dtype=float)


def momenta_of(atoms: Atoms, velocities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ASE momenta (N x 3) for `velocities` in angstrom/ps."""
    return np.asarray(atoms.get_masses()[:, None] * velocities * _METAL_VELOCITY, dtype=float)


def data_file(atoms: Atoms, box: LammpsBox, types: AtomTypes, *, tilted: bool) -> str:
    """Return a data file with the box, masses, positions and velocities to full precision."""
    lines = ["written by pyacemaker", "", f"{len(atoms)} atoms", f"{len(types.masses)} atom types"]
    upper = box.lower + np.diag(box.vectors)
    for axis, name in enumerate("xyz"):
        lines.append(f"{box.lower[axis]:.17g} {upper[axis]:.17g} {name}lo {name}hi")
    if tilted:
        (_, _, _), (xy, _, _), (xz, yz, _) = box.vectors
        lines.append(f"{xy:.17g} {xz:.17g} {yz:.17g} xy xz yz")
    lines += ["", "Masses", ""]
    lines += [f"{i} {mass:.17g}" for i, mass in enumerate(types.masses, start=1)]
    lines += ["", "Atoms # atomic", ""]
    for i, (kind, position) in enumerate(
        zip(types.of_atom, box.to_lammps(atoms.positions), strict=True), start=1
    ):
        lines.append(f"{i} {kind} " + " ".join(f"{x:.17g}" for x in position))
    lines += ["", "Velocities", ""]
    for i, velocity in enumerate(box.to_lammps(metal_velocities(atoms)), start=1):
        lines.append(f"{i} " + " ".join(f"{x:.17g}" for x in velocity))
    return "\n".join(lines) + "\n"


def preamble(box: LammpsBox, potential: Sequence[str]) -> list[str]:
    """Return what every input starts with: units, boundaries, atoms, the potential."""
    # m: the box grows with the atoms but never shrinks under what the data file says
    boundary = " ".join("p" if periodic else "m" for periodic in box.periodic)
    return [
        "units metal",
        "atom_style atomic",
        f"boundary {boundary}",
        "box tilt large",
        f"read_data {DATA}",
        *potential,
        "neighbor 1.0 bin",
        "neigh_modify every 1 delay 0 check yes one 10000 page 200000",
    ]


def _gamma_fix(every: int) -> str:
    return f"fix gamma all pair {every} pace/extrapolation gamma 1"


def _final_frame(columns: str) -> str:
    return f"write_dump all custom {FINAL} {columns} modify sort id format float %.17g"


def dynamics_input(
    request: MDRequest,
    start: Atoms,
    box: LammpsBox,
    potential: Sequence[str],
    *,
    isotropic: bool,
) -> str:
    """Return the input of one stretch of MD.

    gamma is looked at by a `run 0` first; only if it is below the threshold does the run
    begin. Three `fix halt` watch it every `check_every` steps: gamma, the temperature and
    the shortest distance (`error continue` lets the final frame be written). The time
    limit is LAMMPS' own, so that a run which meets it still writes its last frame.
    """
    every = request.check_every
    limits = {
        "gamma_watchdog": f"v_gamma_max > {request.gamma_halt:.17g}",
        "heat_watchdog": f"v_temperature > {runaway_temperature(request):.6g}",
        "collapse_watchdog": f"v_shortest < {collapse_distance(start):.6g}",
    }
    snapshots = every * max(1, math.ceil(request.steps / every / _MOST_SNAPSHOTS))
    frozen = frozen_atoms(start)
    group = "all"
    lines = preamble(box, potential)
    if len(frozen):
        group = "mobile"
        lines += [
            "group frozen id " + " ".join(str(i + 1) for i in frozen),
            "group mobile subtract all frozen",
            "velocity frozen set 0 0 0",
            "fix hold frozen setforce 0 0 0",
        ]
    lines.append(f"compute temperature {group} temp")
    if len(frozen):
        lines.append("compute_modify temperature extra/dof 0")
    lines += [
        f"timestep {request.timestep_fs / 1000.0:.17g}",
        _gamma_fix(every),
        "compute gamma_max all reduce max f_gamma",
        "compute pairs all pair/local dist",
        "compute shortest all reduce min c_pairs inputs local",
        "variable gamma_max equal c_gamma_max",
        "variable temperature equal c_temperature",
        "variable shortest equal c_shortest",
        "variable volume equal vol",
        "variable step equal step",
        "thermo_style custom step time temp pe etotal press vol c_gamma_max c_shortest",
        "thermo_modify temp temperature lost error flush yes",
        f"thermo {every}",
        f"dump snapshots all custom {snapshots} {SNAPSHOTS} {_COLUMNS} f_gamma",
        "dump_modify snapshots sort id format float %.17g flush yes",
        f"fix trace all print {every} "
        '"${step} ${temperature} ${gamma_max} ${shortest} ${volume}" '
        f'file {TRACE} screen no title "# step temperature_K gamma_max shortest_A volume_A3"',
        "run 0",
        f'if "$(c_gamma_max:%.17g) > {request.gamma_halt:.17g}" then "jump SELF finish"',
        _integrator(request, box, group, isotropic=isotropic),
    ]
    if len(frozen):
        lines.append("fix_modify motion temp temperature")
    lines += [
        f"fix {name} all halt {every} {limit} error continue" for name, limit in limits.items()
    ]
    if request.steps > 0:
        if request.timeout_s is not None:
            limit = max(1, math.ceil(request.timeout_s))
            lines.append(f"timer timeout 0:0:{limit} every {every}")
        lines += [f"run {request.steps}", "timer timeout unlimited"]
    lines += [f"unfix {name}" for name in limits]
    lines += [
        "unfix motion",
        "label finish",
        "unfix trace",
        "undump snapshots",
        # gamma of the very last frame, which need not be a multiple of check_every
        "unfix gamma",
        _gamma_fix(1),
        "run 0 post no",
        _final_frame(f"{_COLUMNS} f_gamma"),
        f'print "{FINISHED}"',
    ]
    return "\n".join(lines) + "\n"


def _integrator(request: MDRequest, box: LammpsBox, group: str, *, isotropic: bool) -> str:
    """Return Nose-Hoover chains at the usual damping: 100 steps, and 1000 for the cell."""
    picoseconds = request.timestep_fs / 1000.0
    first, last = request.temperature_K
    thermostat = f"temp {first:.17g} {last:.17g} {100 * picoseconds:.17g}"
    if request.pressure_GPa is None:
        return f"fix motion {group} nvt {thermostat}"
    bar = f"{request.pressure_GPa * _BAR_PER_GPA:.17g}"
    target = f"{bar} {bar} {1000 * picoseconds:.17g}"
    if all(box.periodic) and isotropic:
        barostat = f"iso {target}"
    else:
        free = [name for name, p in zip("xyz", box.periodic, strict=True) if p]
        coupled = [f"{name} {target}" for name in free]
        if isotropic and len(free) > 1:
            coupled.append(f"couple {''.join(free)}")
        elif box.is_tilted:
            shear = f"0.0 0.0 {1000 * picoseconds:.17g}"
            pairs = [p for p in ("yz", "xz", "xy") if set(p) <= set(free)]
            coupled += [f"{pair} {shear}" for pair in pairs]
        # flips would exchange the lattice vectors that the caller gave
        barostat = " ".join(coupled) + (" flip no" if box.is_tilted else "")
    return f"fix motion {group} npt {thermostat} {barostat}"


def single_point_input(box: LammpsBox, potential: Sequence[str]) -> str:
    """Return the input of one evaluation: energy, forces, virial and gamma."""
    components = " ".join(f"$(c_virial[{i}]:%.17g)" for i in range(1, 7))
    return "\n".join(
        [
            *preamble(box, potential),
            _gamma_fix(1),
            "compute virial all pressure NULL virial",
            "thermo_style custom step pe " + " ".join(f"c_virial[{i}]" for i in range(1, 7)),
            "run 0",
            f'print "$(pe:%.17g) $(vol:%.17g) {components}" file {PRESSURE} screen no',
            _final_frame("id fx fy fz f_gamma"),
            f'print "{FINISHED}"',
            "",
        ]
    )


def probe_input(
    box: LammpsBox,
    potential: Sequence[str],
    displacements: Mapping[int, NDArray[np.float64]],
) -> str:
    """Return an input that dumps gamma at the start and with single atoms displaced.

    `displacements` maps an atom's index to its displacement (3, angstrom, ASE's frame). The
    dumps are `probe-start.dump` and `probe-<index>.dump`.
    """
    lines = preamble(box, potential)

    def evaluate(name: str) -> list[str]:
        # a new fix each time: fix pair looks at one time step only once
        return [
            _gamma_fix(1),
            "run 0 post no",
            f"write_dump all custom probe-{name}.dump id f_gamma modify sort id format float %.17g",
            "unfix gamma",
        ]

    lines += evaluate("start")
    for index, displacement in displacements.items():
        x, y, z = box.to_lammps(displacement[None, :])[0]
        there = f"{x:.17g} {y:.17g} {z:.17g}"
        back = f"{-x:.17g} {-y:.17g} {-z:.17g}"
        lines.append(f"group probe id {index + 1}")
        lines.append(f"displace_atoms probe move {there} units box")
        lines += evaluate(str(index))
        lines.append(f"displace_atoms probe move {back} units box")
        lines.append("group probe delete")
    lines.append(f'print "{FINISHED}"')
    return "\n".join(lines) + "\n"
