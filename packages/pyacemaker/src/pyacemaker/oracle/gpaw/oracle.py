"""The oracle that labels by GPAW, in a Python of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.files import write_whole
from pyacemaker.oracle.ase_oracle import demand_finite, finished_label
from pyacemaker.oracle.band_gap import band_gap
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.cells import periodic_box, stress_of
from pyacemaker.oracle.dft_settings import GPAWSettings
from pyacemaker.oracle.espresso.kmesh import VACUUM_A, kmesh
from pyacemaker.process import run_program

INPUT, RESULT, LOG = "gpaw.json", "result.json", "gpaw.log"
_SCRIPT = Path(__file__).with_name("gpaw_run.py")
_PYTHON = "/usr/bin/python3"
_PROBE_LIMIT_S = 120.0
# Ours would bring our numpy and ASE into the other Python.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class GPAWOracle:
    """Labels by one SCF each. Picklable."""

    choice: GPAWSettings

    @property
    def name(self) -> str:
        """Return ``gpaw``."""
        return "gpaw"

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return version, checksums of the PAW setups, cutoff (eV), k-mesh, smearing and spins.

        Raises OracleError where GPAW or a setup is missing.
        """
        choice = self.choice
        symbols = sorted(set(atoms.get_chemical_symbols()))
        found = _probe(self._python(), choice.functional)
        missing = [symbol for symbol in symbols if symbol not in found["setups"]]
        if missing:
            raise OracleError(
                f"GPAW has no {choice.functional} setup for {', '.join(missing)}; install "
                "gpaw-data, or set GPAW_SETUP_PATH"
            )
        settings: dict[str, Any] = {
            "code": "gpaw",
            "version": found["version"],
            "functional": choice.functional,
            "setups": {symbol: found["setups"][symbol] for symbol in symbols},
            "ecut_eV": choice.ecut_eV,
            "kmesh": list(kmesh(periodic_box(atoms), choice.kspacing_per_A)),
            "kspacing_per_A": choice.kspacing_per_A,
            "smearing": "fermi-dirac",
            "smearing_eV": choice.smearing_eV,
            "energy_eV_per_atom": choice.energy_eV_per_atom,
            "nspin": choice.nspin,
        }
        if choice.nspin == 2:
            settings["moments_muB"] = {s: choice.moments_muB.get(s, 0.0) for s in symbols}
        if not atoms.pbc.all():
            settings["vacuum_A"] = VACUUM_A
        return settings

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Label `atoms`, or read back what was finished in `workdir`. Raises OracleError."""
        start = time.monotonic()
        settings = self.settings(atoms)
        box = periodic_box(atoms)
        workdir.mkdir(parents=True, exist_ok=True)
        job = json.dumps(self._job(box, settings), sort_keys=True)
        result = _finished(workdir, job)
        recovered = result is not None
        if result is None:
            result = self._run(workdir, job, atoms)
        energy = float(result["energy"])
        forces = np.array(result["forces"], dtype=float)
        stress = stress_of(atoms, box, np.array(result["stress"], dtype=float))
        demand_finite(atoms, energy, forces, stress)
        meta = {
            "wall_s": float(result["wall_s"]),
            "elapsed_s": round(time.monotonic() - start, 3),
            "recovered": recovered,
            "scf_steps": result["scf_steps"],
            "magnetization_muB": result["magnetization_muB"],
            "gap_eV": _gap(result),
        }
        return finished_label(atoms, energy, forces, stress, settings, meta)

    def _job(self, box: Atoms, settings: Mapping[str, Any]) -> dict[str, Any]:
        moments = [self.choice.moments_muB.get(s, 0.0) for s in box.get_chemical_symbols()]
        if box.has("initial_magmoms") and np.any(box.arrays["initial_magmoms"]):
            moments = box.arrays["initial_magmoms"].tolist()
        return {
            "numbers": box.numbers.tolist(),
            "positions": box.positions.tolist(),
            "cell": box.cell.array.tolist(),
            "xc": self.choice.functional,
            "ecut_eV": self.choice.ecut_eV,
            "kmesh": settings["kmesh"],
            "smearing_eV": self.choice.smearing_eV,
            "energy_eV_per_atom": self.choice.energy_eV_per_atom,
            "maxiter": self.choice.electron_maxstep,
            "moments": moments if self.choice.nspin == 2 else None,
            "settings": dict(settings),
        }

    def _run(self, workdir: Path, job: str, atoms: Atoms) -> dict[str, Any]:
        (workdir / RESULT).unlink(missing_ok=True)
        write_whole(workdir / INPUT, job)
        try:
            ended = run_program(
                [*self._python(), str(_SCRIPT), INPUT, RESULT],
                cwd=workdir,
                stdout=workdir / LOG,
                timeout_s=self.choice.timeout_s,
                env=_variables(self.choice.threads),
            )
        except (FileNotFoundError, PermissionError) as error:
            raise _no_gpaw(self._python(), str(error.strerror)) from error
        result = _finished(workdir, job)
        if result is None:
            said = (workdir / LOG).read_text(errors="replace").strip().splitlines()
            reason = said[-1][:300] if said else "it said nothing"
            family = "scf" if "KohnShamConvergenceError" in reason else "program"
            if ended.timed_out:
                family, reason = "time", f"{ended.describe()}; raise oracle.timeout_s"
            raise OracleError(
                f"{atoms.get_chemical_formula()}: GPAW gave no result: {reason}",
                {"attempts": [{"family": family, "reason": reason, "wall_s": ended.wall_s}]},
            )
        return result

    def _python(self) -> tuple[str, ...]:
        command = self.choice.command or (_PYTHON,)
        found = shutil.which(str(Path(command[0]).expanduser()))
        return (str(Path(found).absolute()) if found else command[0], *command[1:])


def _finished(workdir: Path, job: str) -> dict[str, Any] | None:
    """Return the result that lies in `workdir`, if it is of this very job."""
    try:
        if (workdir / INPUT).read_text() != job:
            return None
        found = json.loads((workdir / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("converged") is True else None


def _gap(result: Mapping[str, Any]) -> float | None:
    """Return the band gap (eV); None where it is not known, as in results of older versions."""
    levels = [np.array(channel, dtype=float) for channel in result.get("eigenvalues_eV", ())]
    return band_gap(levels, [channel <= result["fermi_eV"] for channel in levels])


def _variables(threads: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return kept | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}


@functools.cache
def _probe(python: tuple[str, ...], functional: str) -> dict[str, Any]:
    """Return GPAW's version and the SHA-256 of each element's setup. Raises OracleError."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            ended = run_program(
                [*python, str(_SCRIPT), "--probe", functional, "probe.json"],
                cwd=work,
                stdout=work / "log",
                timeout_s=_PROBE_LIMIT_S,
                env=_variables(1),
            )
        except (FileNotFoundError, PermissionError) as error:
            raise _no_gpaw(python, str(error.strerror)) from error
        if ended.returncode != 0:
            said = (work / "log").read_text(errors="replace").strip().splitlines()
            raise _no_gpaw(python, said[-1][:200] if said else ended.describe())
        found = json.loads((work / "probe.json").read_text())
    return dict(found)


def _no_gpaw(python: tuple[str, ...], why: str) -> OracleError:
    return OracleError(
        f"{' '.join(python)} has no GPAW ({why}); install it (Debian: apt install gpaw gpaw-data) "
        "or name a Python that has it in oracle.command"
    )
