"""Supercells, slabs and relaxations that the gates for defects, heat and motion share."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from pyacemaker.validator.evaluation import Floats, PotentialError, evaluate
from pyacemaker.validator.lattice_dynamics import conventional, supercell_repeats
from pyacemaker.validator.relax import Relaxed, relax
from pyacemaker.validator.settings import ValidationSettings

_RATTLE_A = 0.01  # off a symmetric saddle, far below anything physical
_SEED = 20260102
_FMAX_eV_per_A = 1e-3
_ACCEPT_eV_per_A = 0.03  # of an energy of formation, some meV
_VACUUM_A = 12.0
_ALONE_A = 24.0


def supercell_of(
    crystal: Atoms, edge_A: float, max_atoms: int, settings: ValidationSettings
) -> Atoms:
    """Return repeats of the conventional cell, at least `edge_A` high if `max_atoms` let it."""
    unit = conventional(crystal, settings.symprec_A)
    bounds = {"phonon_min_edge_A": edge_A, "phonon_max_atoms": max_atoms}
    repeats, _ = supercell_repeats(unit, settings.model_copy(update=bounds))
    return unit.repeat(repeats)


def slab_of(
    crystal: Atoms,
    miller: tuple[int, int, int],
    thickness_A: float,
    max_atoms: int,
    settings: ValidationSettings,
) -> Atoms | None:
    """Return a stoichiometric slab with vacuum; None where even the thinnest has too many atoms.

    Whole oriented cells of the conventional cell's size are stacked, so that
    the slab has the composition of the crystal and its energy needs no chemical potential.
    """
    unit = conventional(crystal, settings.symprec_A)
    oriented = make_supercell(unit, _oriented(unit.cell.array, miller))
    wanted = max(1, int(np.ceil(thickness_A / _height(oriented) - 1e-6)))
    layers = min(wanted, max_atoms // len(unit))
    return _cleaved(oriented.repeat((1, 1, layers))) if layers else None


def _oriented(cell: Floats, miller: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return lattice vectors (rows): the two shortest within the plane, and the next plane's."""
    steps = np.array([v for v in itertools.product(range(-3, 4), repeat=3) if any(v)])
    steps = steps[np.argsort(np.linalg.norm(steps @ cell, axis=1), kind="stable")]
    planes = steps @ np.array(miller)
    first = steps[planes == 0][0]
    across = [v for v in steps[planes == 0] if np.any(np.cross(first, v))]
    return np.array([first, across[0], steps[planes == 1][0]])


def _height(periodic: Atoms) -> float:
    """Return the height (angstrom) of a cell above the plane of its first two axes."""
    area = np.linalg.norm(np.cross(periodic.cell[0], periodic.cell[1]))
    return float(abs(periodic.cell.volume) / area)


def _cleaved(periodic: Atoms) -> Atoms:
    """Cut a stack of oriented cells where its planes lie widest apart, and add vacuum.

    Rounding puts atoms of one plane on either side of a cell's boundary; atoms are moved by
    whole third axes, so that no plane is split.
    """
    normal = np.cross(periodic.cell[0], periodic.cell[1])
    normal /= np.linalg.norm(normal)
    axis, height = periodic.cell.array[2], _height(periodic)
    if axis @ normal < 0:
        normal = -normal
    heights = periodic.positions @ normal
    inside = np.mod(heights, height)
    order = np.sort(inside)
    gaps = np.round(np.diff(np.append(order, order[0] + height)), 4)
    first = order[(int(np.argmax(gaps)) + 1) % len(order)] - 1e-3
    steps = np.rint((np.mod(heights - first, height) + first - heights) / height)
    atoms = periodic.copy()
    atoms.positions += steps[:, None] * axis
    lowest = float((atoms.positions @ normal).min())
    atoms.positions += (_VACUUM_A / 2 - lowest) * normal
    thickness = float(np.ptp(atoms.positions @ normal))
    cell = periodic.cell.array.copy()
    cell[2] = (thickness + _VACUUM_A) * normal
    atoms.set_cell(cell)
    atoms.pbc = True
    return atoms


def relax_defect(atoms: Atoms, calculator: Calculator, settings: ValidationSettings) -> Relaxed:
    """Relax the ions of a defective cell, from slightly off its symmetry. Raises PotentialError."""
    moved = atoms.copy()
    rng = np.random.default_rng(_SEED)
    moved.positions += rng.normal(scale=_RATTLE_A, size=moved.positions.shape)
    looser = settings.model_copy(
        update={
            "relax_fmax_eV_per_A": max(settings.relax_fmax_eV_per_A, _FMAX_eV_per_A),
            "relax_accept_fmax_eV_per_A": max(
                settings.relax_accept_fmax_eV_per_A, _ACCEPT_eV_per_A
            ),
        }
    )
    return relax(moved, calculator, looser, cell="fixed", symmetric=False)


def cohesive_energy(crystal: Atoms, energy_eV: float, calculator: Calculator) -> tuple[float, bool]:
    """Return the energy (eV/atom) that takes the crystal apart into free atoms, and if known.

    (0, False) where the potential cannot be asked for a free atom.
    """
    alone = 0.0
    try:
        for symbol in crystal.get_chemical_symbols():
            free = Atoms([symbol], [[_ALONE_A / 2] * 3], cell=[_ALONE_A] * 3, pbc=True)
            alone += evaluate(free, calculator, stress=False).energy_eV
    except PotentialError:
        return 0.0, False
    return (alone - energy_eV) / len(crystal), True


def neighbour_distance(crystal: Atoms) -> float:
    """Return the shortest distance (angstrom) between two atoms of a periodic crystal."""
    reach = 1.5 * float(crystal.get_volume() / len(crystal)) ** (1 / 3)
    while True:
        distances = neighbor_list("d", crystal, reach)
        if len(distances):
            return float(distances.min())
        reach *= 1.5
