"""What VASP left in vasprun.xml: a converged result, or why there is none."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from pymatgen.io.vasp.outputs import Vasprun

from pyacemaker.oracle.band_gap import band_gap

_SAME_PLACE = 1e-6  # of scaled positions
_HALF_FILLED = 0.5  # of the one electron a state holds in VASP's file
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class NoResultError(Exception):
    """No label could be read. `kind` is a fixed word, the message one line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Result:
    """A converged static run; stress in ASE's sign and order.

    `energy_eV` is the free energy (`e_fr_energy`), whose derivatives VASP's forces are.
    `gap_eV` is None where the file does not tell it (`oracle.band_gap`).
    """

    energy_eV: float
    forces_eV_per_A: np.ndarray[Any, Any]
    stress_eV_per_A3: np.ndarray[Any, Any]
    scf_steps: int
    version: str
    gap_eV: float | None = None


def read_vasprun(path: Path, box: Atoms) -> Result:
    """Read the result for `box` (atoms in VASP's order). Raises NoResultError.

    VASP prints the stress in kB with compression positive, hence the sign.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Vasprun(str(path), parse_dos=False, parse_potcar_file=False)
        step = run.ionic_steps[-1]
        scf = step["electronic_steps"]
        energy = float(scf[-1]["e_fr_energy"])
        forces = np.array(step["forces"], dtype=float)
        stress = -0.1 * GPa * np.array(step["stress"], dtype=float)
        final = run.structures[-1]
        limit = int(run.parameters.get("NELM", 60))
    except FileNotFoundError:
        raise NoResultError("bad output", f"VASP left no {path.name}") from None
    except Exception as error:  # pymatgen's parser raises whatever it stumbles over
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NoResultError("bad output", f"{path.name} is not whole ({lines[0][:200]})") from error
    if len(scf) >= limit:
        raise NoResultError("not converged", f"the SCF did not converge in {len(scf)} steps")
    if forces.shape != (len(box), 3) or stress.shape != (3, 3):
        raise NoResultError("bad output", f"{path.name} has no forces and stress of these atoms")
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        raise NoResultError("bad output", f"a number in {path.name} is not finite")
    shift = final.frac_coords - box.get_scaled_positions(wrap=False)
    same = (
        [site.specie.symbol for site in final] == box.get_chemical_symbols()
        and np.allclose(final.lattice.matrix, box.cell.array, atol=1e-6)
        and float(np.abs(shift - np.rint(shift)).max()) < _SAME_PLACE
    )
    if not same:
        raise NoResultError("bad output", f"{path.name} is of another structure")
    voigt = np.array([stress[a, b] for a, b in _VOIGT])
    return Result(energy, forces, voigt, len(scf), str(run.vasp_version), _gap(run))


def _gap(run: Vasprun) -> float | None:
    """Return the band gap (eV), by occupations: VASP may put its Fermi level at a band's edge."""
    try:
        channels = [np.asarray(values, dtype=float) for values in (run.eigenvalues or {}).values()]
    except (TypeError, ValueError):
        return None
    if any(values.ndim != 3 or values.shape[2] != 2 for values in channels):
        return None
    return band_gap(
        [values[:, :, 0] for values in channels],
        [values[:, :, 1] > _HALF_FILLED for values in channels],
    )
