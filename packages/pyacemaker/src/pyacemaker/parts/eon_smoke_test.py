"""The test a build of EON has to pass: its client relaxes, and its server starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.eon import read_eon, write_eon

from pyacemaker.files import write_whole
from pyacemaker.parts.sources import PartError
from pyacemaker.process import run_program

_LIMIT_S = 300.0
_CONFIG = """\
[Main]
job = minimization
[Potential]
potential = lj
[Optimizer]
opt_method = lbfgs
converged_force = 1e-6
max_iterations = 1000
"""


def run_smoke_test(server: Path, client: Path, folder: Path) -> None:
    """Relax a pair of Lennard-Jones atoms with the client, and ask the server for its status.

    Their distance must become 2^(1/6) sigma and their energy -epsilon, both of which are 1
    (angstrom and eV) in EON unless told otherwise. Works in `folder`, which is removed where
    all is well. Raises PartError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pair = Atoms("Ar2", [(10, 10, 10), (11.3, 10, 10)], cell=[40, 40, 40], pbc=True)
    with (folder / "pos.con").open("w") as stream:
        write_eon(stream, [pair])
    write_whole(folder / "config.ini", _CONFIG)
    _run([str(client)], folder, "client.log")
    with (folder / "min.con").open() as stream:
        distance = read_eon(stream).get_distance(0, 1)
    energy = _energy(folder / "results.dat")
    if abs(distance - 2 ** (1 / 6)) > 1e-4 or abs(energy + 1) > 1e-4:
        raise PartError(
            f"EON's client relaxes a Lennard-Jones pair to {distance:.5f} angstrom and "
            f"{energy:.5f} eV, not 1.12246 and -1; its files: {folder}"
        )
    server_config = _CONFIG.replace("minimization", "akmc")
    write_whole(folder / "config.ini", f"{server_config}[Communicator]\nclient_path = {client}\n")
    _run([str(server), "--status"], folder, "server.log")
    shutil.rmtree(folder)


def _run(command: list[str], folder: Path, log: str) -> None:
    done = run_program(command, cwd=folder, stdout=folder / log, timeout_s=_LIMIT_S)
    if done.returncode != 0:
        name = Path(command[0]).name
        raise PartError(f"{name} does not run ({done.describe()}); its output: {folder / log}")


def _energy(results: Path) -> float:
    found = [line.split() for line in results.read_text().splitlines()]
    return next((float(row[0]) for row in found if row[1:] == ["potential_energy"]), np.nan)
