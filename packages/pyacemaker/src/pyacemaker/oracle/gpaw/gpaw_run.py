"""One SCF by GPAW: ``python gpaw_run.py JOB RESULT`` (or ``--probe FUNCTIONAL RESULT``).

Run by the Python that has GPAW, whose ASE and numpy are its own; so nothing of pyacemaker is
imported here. The result is written whole, and only if the SCF converged.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import chemical_symbols


def write(path: str, content: Any) -> None:
    """Write JSON under a temporary name, then rename."""
    fresh = Path(path + ".new")
    with fresh.open("w") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def probe(functional: str, target: str) -> None:
    """Write GPAW's version and the checksum of every element's setup file."""
    import gpaw
    from gpaw import setup_paths

    setups: dict[str, str] = {}
    for symbol in chemical_symbols[1:]:
        for folder in setup_paths:
            for name in (f"{symbol}.{setup_of(functional)}", f"{symbol}.{setup_of(functional)}.gz"):
                path = Path(folder) / name
                if symbol not in setups and path.is_file():
                    setups[symbol] = hashlib.sha256(path.read_bytes()).hexdigest()
    write(target, {"version": gpaw.__version__, "setups": setups})


def setup_of(functional: str) -> str:
    """Return the functional whose setups GPAW takes: PBEsol has those of PBE."""
    return {"PBEsol": "PBE"}.get(functional, functional)


def main(source: str, target: str) -> None:
    """Run the job in `source` and write energy, forces and stress to `target`."""
    from gpaw import GPAW, PW, FermiDirac

    start = time.monotonic()
    job = json.loads(Path(source).read_text())
    atoms = Atoms(numbers=job["numbers"], positions=job["positions"], cell=job["cell"], pbc=True)
    if job["moments"] is not None:
        atoms.set_initial_magnetic_moments(job["moments"])
    atoms.calc = GPAW(
        mode=PW(job["ecut_eV"]),
        xc=job["xc"],
        kpts={"size": tuple(job["kmesh"]), "gamma": True},
        occupations=FermiDirac(job["smearing_eV"]),
        spinpol=job["moments"] is not None,
        maxiter=job["maxiter"],
        # Of eV per valence electron; the eigenstates decide over the forces.
        convergence={"energy": job["energy_eV_per_atom"], "eigenstates": 1e-9, "forces": 1e-3},
        txt="gpaw.txt",
    )
    energy = atoms.get_potential_energy(force_consistent=True)
    forces = atoms.get_forces()
    stress = atoms.get_stress()
    calculator = atoms.calc
    kpoints = len(calculator.get_ibz_k_points())
    write(
        target,
        {
            "converged": bool(calculator.scf.converged),
            "energy": float(energy),
            "forces": forces.tolist(),
            "stress": stress.tolist(),
            "scf_steps": int(calculator.get_number_of_iterations()),
            "magnetization_muB": float(calculator.get_magnetic_moment()),
            "fermi_eV": float(calculator.get_fermi_level()),
            "eigenvalues_eV": [
                [calculator.get_eigenvalues(k, s).tolist() for k in range(kpoints)]
                for s in range(calculator.get_number_of_spins())
            ],
            "wall_s": round(time.monotonic() - start, 3),
        },
    )


if __name__ == "__main__":
    if sys.argv[1] == "--probe":
        probe(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
