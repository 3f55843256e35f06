"""The test a freshly built ML-PACE plugin must pass: it computes what python-ace computes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.calculators.lammps import Prism
from numpy.typing import NDArray

from pyacemaker.parts.sources import PartError
from pyacemaker.process import run_program

_RELATIVE = 1e-8
_LIMIT_S = 120.0


def compare_with_python_ace(plugin: Path, lmp: Path, env: Mapping[str, str], workdir: Path) -> None:
    """Compare energy, forces and gamma of a small random potential in LAMMPS and python-ace.

    Two elements, a triclinic cell smaller than the cutoff, random coefficients (seeded) and
    an active set of unit matrices. Raises PartError if they differ by more than 1e-8.
    """
    from pyace import PyACECalculator

    workdir.mkdir(parents=True)
    with contextlib.redirect_stdout(io.StringIO()):
        write_random_potential(workdir / "random.yaml", workdir / "random.asi")
        calculator = PyACECalculator(str(workdir / "random.yaml"))
        calculator.set_active_set(str(workdir / "random.asi"))
    atoms = bulk("Al", "fcc", 4.05).repeat((2, 1, 1))
    atoms.symbols[0] = "Ni"
    atoms.rattle(0.15, seed=3)
    prism = Prism(np.asarray(atoms.cell))
    xx, yy, zz, xy, xz, yz = prism.get_lammps_prism()
    atoms.set_positions(prism.vector_to_lammps(atoms.positions))
    atoms.set_cell(prism.lammps_tilt)
    atoms.calc = calculator
    types = [2 if symbol == "Ni" else 1 for symbol in atoms.symbols]
    data = [
        "smoke test\n",
        f"{len(atoms)} atoms\n2 atom types\n",
        f"0 {xx:.17g} xlo xhi\n0 {yy:.17g} ylo yhi\n0 {zz:.17g} zlo zhi",
        f"{xy:.17g} {xz:.17g} {yz:.17g} xy xz yz\n",
        "Atoms # atomic\n",
        *(
            f"{i + 1} {kind} {x:.16g} {y:.16g} {z:.16g}"
            for i, (kind, (x, y, z)) in enumerate(zip(types, atoms.positions, strict=True))
        ),
    ]
    (workdir / "in.data").write_text("\n".join(data))
    (workdir / "in.lammps").write_text(
        f"""units metal
plugin load "{plugin}"
read_data in.data
mass 1 27
mass 2 58
pair_style pace/extrapolation
pair_coeff * * random.yaml random.asi Al Ni
fix gamma all pair 1 pace/extrapolation gamma 1
thermo_style custom step pe
run 0
variable energy equal pe
print "$(v_energy:%.16g)" file energy.txt
write_dump all custom frame.dump id fx fy fz f_gamma modify sort id format float %.16g
"""
    )
    log = workdir / "screen.txt"
    finished = run_program(
        [str(lmp), "-in", "in.lammps", "-log", "none", "-nocite"],
        cwd=workdir,
        stdout=log,
        timeout_s=_LIMIT_S,
        env=env,
    )
    frame = workdir / "frame.dump"
    if finished.returncode != 0 or not frame.is_file():
        lines = log.read_text(errors="replace").splitlines()
        shown = [x for x in lines if "ERROR" in x or "failed" in x] or lines[-1:] or ["no output"]
        raise PartError(f"the built plugin fails in LAMMPS ({finished.describe()}): {shown[0]}")
    rows = np.loadtxt(frame, skiprows=9)
    _agree("energy", float((workdir / "energy.txt").read_text()), atoms.get_potential_energy())
    _agree("forces", rows[:, 1:4], atoms.get_forces())
    _agree("gamma", rows[:, 4], calculator.results["gamma"])


def write_random_potential(basis: Path, active_set: Path) -> None:
    """Write a small two-element ACE (.yaml) with random coefficients and its .asi.

    The active set's inverses are unit matrices, so gamma is the largest basis function.
    """
    from pyace import ACEBBasisSet, create_multispecies_basis_config

    settings: dict[str, Any] = {
        "deltaSplineBins": 0.001,
        "elements": ["Al", "Ni"],
        "embeddings": {
            "ALL": {
                "npot": "FinnisSinclairShiftedScaled",
                "fs_parameters": [1, 1, 1, 0.5],
                "ndensity": 2,
            }
        },
        "bonds": {
            "ALL": {"radbase": "SBessel", "radparameters": [5.25], "rcut": 5.0, "dcut": 0.01}
        },
        "functions": {"ALL": {"nradmax_by_orders": [3, 2, 1], "lmax_by_orders": [0, 2, 1]}},
    }
    config = create_multispecies_basis_config(settings)
    rng = np.random.default_rng(0)
    config.set_func_coeffs(0.01 * rng.normal(size=len(config.get_func_coeffs())))
    config.save(str(basis))
    made = ACEBBasisSet(str(basis))
    sizes = [len(a) + len(b) for a, b in zip(made.basis_rank1, made.basis, strict=True)]
    units: dict[str, Any] = {e: np.eye(n) for e, n in zip(made.elements_name, sizes, strict=True)}
    with active_set.open("wb") as stream:
        np.savez(stream, **units)


def _agree(
    what: str, ours: float | NDArray[np.float64], reference: float | NDArray[np.float64]
) -> None:
    scale = float(np.abs(reference).max())
    difference = float(np.abs(np.asarray(ours) - np.asarray(reference)).max())
    if not difference <= _RELATIVE * scale:
        raise PartError(
            f"the built plugin gives another {what} than python-ace (difference {difference:.3g}, "
            f"scale {scale:.3g}): the LAMMPS sources do not fit; unset PYACEMAKER_LAMMPS_SRC"
        )
