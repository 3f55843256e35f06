"""What both engines ask before the first step, and the guards they share."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from pyacemaker.dynamics.base import DynamicsError, MDRequest

# Two atoms nearer than this part of the sum of their covalent radii have fallen into a hole
# of the potential: 0.35 is far below any bond (H2: 1.2) and any collision at MD temperatures.
_COLLAPSED = 0.35
_SAME_PLACE_A = 1e-2


class MDRequestError(DynamicsError, ValueError):
    """A request that cannot be run; the message names the value and what is expected."""


def check_request(request: MDRequest, workdir: Path) -> None:
    """Refuse impossible requests before anything is started. Raises MDRequestError."""
    _check_structure(request.atoms)
    _positive("temperature_K", *request.temperature_K)
    _positive("timestep_fs", request.timestep_fs)
    _positive("gamma_halt", request.gamma_halt)
    if request.steps < 0:
        raise MDRequestError(f"steps is {request.steps}: expected 0 or more")
    if request.check_every < 1:
        raise MDRequestError(f"check_every is {request.check_every}: expected 1 or more")
    if request.timeout_s is not None:
        _positive("timeout_s", request.timeout_s)
    if request.pressure_GPa is not None:
        if not math.isfinite(request.pressure_GPa):
            raise MDRequestError(f"pressure_GPa is {request.pressure_GPa}: expected a number")
        if not request.atoms.pbc.any():
            raise MDRequestError("constant pressure needs at least one periodic direction")
        if len(frozen_atoms(request.atoms)):
            raise MDRequestError("constant pressure does not go with fixed atoms: use NVT")
    if request.potential.resolve().is_relative_to(workdir.resolve()):
        raise MDRequestError(
            f"the potential {request.potential} lies in the work folder {workdir}, "
            "which is emptied before a run"
        )


def _check_structure(atoms: Atoms) -> None:
    if len(atoms) == 0:
        raise MDRequestError("there are no atoms to move")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
        formula = atoms.get_chemical_formula()
        raise MDRequestError(f"{formula}: a position or the cell is not finite")
    periodic = np.asarray(atoms.cell)[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic, tol=1e-6) < len(periodic):
        raise MDRequestError(
            f"{atoms.get_chemical_formula()}: periodic directions need cell vectors that span them"
        )
    if (shortest := shortest_distance(atoms, _SAME_PLACE_A)) < _SAME_PLACE_A:
        formula = atoms.get_chemical_formula()
        raise MDRequestError(f"{formula}: two atoms lie on each other ({shortest:.2g} angstrom)")
    if degrees_of_freedom(atoms) <= 0:
        raise MDRequestError(
            f"{atoms.get_chemical_formula()}: no atom is free to move against another; "
            "use a supercell"
        )


def _positive(name: str, *values: float) -> None:
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise MDRequestError(f"{name} is {value}: expected a positive number")


def frozen_atoms(atoms: Atoms) -> NDArray[np.int64]:
    """Return the indices held by FixAtoms. Raises MDRequestError for other constraints."""
    held: set[int] = set()
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise MDRequestError(
                f"the constraint {type(constraint).__name__} is not supported in MD: "
                "only FixAtoms is"
            )
        held.update(int(i) for i in constraint.get_indices())
    return np.array(sorted(held), dtype=np.int64)


def degrees_of_freedom(atoms: Atoms) -> int:
    """Return 3N - 3, or three for each free atom where some are fixed."""
    frozen = frozen_atoms(atoms)
    return 3 * (len(atoms) - len(frozen)) if len(frozen) else 3 * len(atoms) - 3


def empty_folder(workdir: Path) -> None:
    """Make `workdir`, or empty it."""
    workdir.mkdir(parents=True, exist_ok=True)
    for entry in workdir.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def starting_atoms(request: MDRequest) -> Atoms:
    """Return a copy of the request's atoms, without calculator, that has momenta.

    Momenta that the atoms carry are kept as they are. Where there are none (or all are
    zero) they are drawn from the Maxwell-Boltzmann distribution at `temperature_K[0]`
    with the request's seed, without net momentum, and scaled to that very temperature.
    """
    atoms: Atoms = request.atoms.copy()
    if atoms.has("momenta") and np.any(atoms.get_momenta() != 0.0):
        if not np.isfinite(atoms.get_momenta()).all():
            raise MDRequestError("a momentum is not finite")
        return atoms
    rng = np.random.default_rng(request.seed)
    momenta = rng.normal(size=(len(atoms), 3)) * np.sqrt(atoms.get_masses())[:, None]
    frozen = frozen_atoms(atoms)
    momenta[frozen] = 0.0
    if len(frozen) == 0:
        velocity = momenta.sum(axis=0) / atoms.get_masses().sum()
        momenta -= atoms.get_masses()[:, None] * velocity
    atoms.set_momenta(momenta)
    found = 2.0 * atoms.get_kinetic_energy() / (degrees_of_freedom(atoms) * units.kB)
    scale = math.sqrt(request.temperature_K[0] / found)
    atoms.set_momenta(momenta * scale)
    return atoms


def runaway_temperature(request: MDRequest) -> float:
    """Return the temperature above which a run has exploded (K).

    Far above what a thermostat leaves even a few atoms at: kinetic energy fluctuates by
    sqrt(2 / degrees of freedom) of its mean, and a start off equilibrium heats at first.
    """
    spread = math.sqrt(2.0 / degrees_of_freedom(request.atoms))
    return 5.0 * (1.0 + spread) * max(request.temperature_K) + 3000.0


def collapse_distance(atoms: Atoms) -> float:
    """Return the distance (angstrom) under which two atoms have collapsed into each other."""
    return float(2.0 * _COLLAPSED * min(covalent_radii[atoms.numbers]))


def shortest_distance(atoms: Atoms, below_A: float) -> float:
    """Return the shortest distance between atoms or images under `below_A`, else infinity."""
    distances = neighbor_list("d", atoms, below_A)
    return float(distances.min()) if len(distances) else math.inf


def explosion_warning(request: MDRequest, temperature_K: float) -> tuple[str, ...]:
    """Say so if a halted frame is so hot that it exploded between two looks at gamma."""
    if temperature_K <= runaway_temperature(request):
        return ()
    return (
        f"the halted frame is at {temperature_K:.0f} K: the structure exploded between two looks "
        f"at gamma; a check_every below {request.check_every} stops it sooner",
    )
