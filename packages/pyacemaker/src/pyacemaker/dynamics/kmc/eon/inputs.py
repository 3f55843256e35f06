"""What EON reads: config.ini and pos.con.

EON groups the atoms of a .con file by element. So atoms are sorted before, and what comes back
is put into the order it had.
"""

from __future__ import annotations

import configparser
import io
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import cell_to_cellpar, cellpar_to_cell
from ase.io.eon import write_eon

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.geometry import Indices
from pyacemaker.dynamics.kmc.prefactor import MOST_ATOMS, MOVES_A, SURROUNDINGS_A
from pyacemaker.dynamics.kmc.settings import KMCSettings

CONFIG, POSITIONS = "config.ini", "pos.con"
_SEED_LIMIT = 2**31 - 1
_THz = 1e12
_TURNED_deg, _MOST_TURNS = 1.0, 30
# EON ends a climb above its limit of the barrier, where a displacement may well begin.
_PUSHED_eV = 5.0


def order_of(atoms: Atoms) -> Indices:
    """Return the atoms in the order EON keeps them in: by atomic number, else as they come."""
    return np.argsort(atoms.numbers, kind="stable")


def positions_text(atoms: Atoms) -> str:
    """Return `atoms` as pos.con; those that FixAtoms holds stay so.

    Raises DynamicsError for a cell that lengths and angles alone do not tell.
    """
    upright = cellpar_to_cell(cell_to_cellpar(atoms.cell))
    if not np.allclose(atoms.cell, upright, atol=1e-4):
        raise DynamicsError(
            "EON needs a cell of three vectors, the first along x and the second in the plane of "
            "x and y: turn the structure (ase.Atoms.cell.standard_form), or use kmc.engine: builtin"
        )
    text = io.StringIO()
    write_eon(text, [atoms[order_of(atoms)]], comment="pyacemaker")
    return text.getvalue()


def config_text(
    settings: KMCSettings,
    seed: int,
    client: str,
    force_program: Path,
    *,
    free_atoms: int,
    steps: int,
    confidence: float,
) -> str:
    """Return config.ini: the settings of a walk in EON's words.

    Energies are eV, lengths angstrom, temperatures K, prefactors 1/s. The server ends after
    `steps` hops, each from a state known at `confidence`: EON's scheme ``new``, from how often
    the known processes were found again.

    The dimer is turned until it turns by less than a degree. With EON's own 5 degrees and 10
    turns it climbs along other modes than the lowest, to saddle points of other states: in EON's
    example of a heptamer on Pt(111) hardly a search in ten then leads to a process.
    """
    sections: dict[str, dict[str, object]] = {
        "Main": {
            "job": "akmc",
            "temperature": settings.temperature_K,
            "random_seed": seed % _SEED_LIMIT,
        },
        "AKMC": {
            "confidence": confidence,
            "confidence_scheme": "new",
            "thermally_accessible_window": settings.window_kT,
            "max_kmc_steps": steps,
        },
        "Potential": {"potential": "ext_pot", "ext_pot_path": force_program},
        "Communicator": {
            "type": "local",
            "client_path": client,
            "number_of_cpus": 1,
            "num_jobs": 1,
        },
        "Process Search": {"minimize_first": "true"},
        "Optimizer": {
            "opt_method": "lbfgs",
            "converged_force": settings.fmax_eV_per_A,
            "max_iterations": settings.max_steps,
            "convergence_metric": "max_atom",
            "max_move": 0.1,
        },
        "Saddle Search": {
            "method": "min_mode",
            "min_mode_method": "dimer",
            "displace_least_coordinated_weight": 1.0,
            "displace_radius": settings.radius_A,
            "displace_magnitude": settings.displacement_A,
            "max_energy": settings.max_barrier_eV + _PUSHED_eV,
            "max_iterations": settings.max_steps,
            "converged_force": settings.fmax_eV_per_A,
        },
        "Dimer": {"converged_angle": _TURNED_deg, "rotations_max": _MOST_TURNS},
        "Structure Comparison": {"distance_difference": settings.same_A},
        # The atoms of the built-in engine vibrate: all that are free, or those near what moves.
        "Prefactor": {
            "default_value": 0 if settings.prefactor_THz is None else settings.prefactor_THz * _THz,
            "filter_scheme": "fraction" if free_atoms <= MOST_ATOMS else "cutoff",
            "filter_fraction": 1.0,
            "min_displacement": MOVES_A,
            "within_radius": SURROUNDINGS_A,
        },
        "Hessian": {"fd_scheme": "central"},
    }
    parser = configparser.ConfigParser()
    parser.read_dict(
        {name: {key: str(value) for key, value in rows.items()} for name, rows in sections.items()}
    )
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()
