"""The oracle that labels by VASP, mended between attempts by custodian's handlers."""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from custodian.vasp.handlers import (
    StdErrHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
)
from pymatgen.io.vasp.inputs import Incar

from pyacemaker.oracle.ase_oracle import demand_finite, finished_label
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.cells import periodic_box, stress_of
from pyacemaker.oracle.dft_settings import VASPSettings
from pyacemaker.oracle.espresso.kmesh import VACUUM_A, kmesh
from pyacemaker.oracle.vasp.inputs import (
    PHYSICAL,
    potcar_checksums,
    sorted_like_poscar,
    write_inputs,
)
from pyacemaker.oracle.vasp.outputs import NoResultError, Result, read_vasprun
from pyacemaker.process import run_program

OUTPUT = "vasp.out"  # the name that custodian's handlers look for
_INPUTS = ("INCAR", "KPOINTS", "POSCAR", "POTCAR")
_KEPT = (*_INPUTS[:3], "vasprun.xml", OUTPUT, "OSZICAR")

# What the cutoff gate asks: whether too small a basis may be the cause.
_FAMILIES = {"not converged": "scf", "time limit": "time"}


@dataclass(frozen=True)
class VASPOracle:
    """Labels by one static run each. Picklable."""

    choice: VASPSettings

    @property
    def name(self) -> str:
        """Return ``vasp``."""
        return "vasp"

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return functional, checksums of the POTCARs, cutoff (eV), k-mesh, smearing, spins.

        Raises OracleError where a POTCAR is missing or of something else.
        """
        choice = self.choice
        symbols = sorted(set(atoms.get_chemical_symbols()))
        settings: dict[str, Any] = {
            "code": "vasp",
            "functional": choice.functional,
            "potcars": potcar_checksums(symbols, choice),
            "ecut_eV": choice.ecut_eV,
            "kmesh": list(kmesh(periodic_box(atoms), choice.kspacing_per_A)),
            "kspacing_per_A": choice.kspacing_per_A,
            "smearing": choice.occupations,
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
        """Label `atoms`, or read back what was finished in `workdir`.

        Each attempt has a folder of its own. Between two, custodian's handlers look at what
        VASP wrote and change its inputs; a change of what is physical (`PHYSICAL`, the
        k-points, the structure) ends the attempts instead, for the label would be another.
        Raises OracleError with the diagnosis; its `meta` tells all attempts.
        """
        start = time.monotonic()
        settings = self.settings(atoms)
        box = periodic_box(atoms)
        order = sorted_like_poscar(box)
        box = box[order]
        attempts: list[dict[str, Any]] = []
        result: Result | None = None
        before: Path | None = None
        while result is None:
            folder = workdir / f"attempt_{len(attempts) + 1}"
            fresh = self._prepare(folder, before, box)
            outcome, wall_s, recovered = self._attempt(folder, fresh, box)
            record = {"wall_s": wall_s, "recovered": recovered}
            if isinstance(outcome, Result):
                attempts.append({**record, "kind": "converged", "reason": "converged"})
                result = outcome
                break
            family = _FAMILIES.get(outcome.kind, "program")
            attempts.append(
                {**record, "kind": outcome.kind, "family": family, "reason": str(outcome)}
            )
            if len(attempts) >= self.choice.max_attempts:
                raise self._failed(atoms, attempts)
            attempts[-1]["remedy"] = actions = _mend(folder)
            if not actions:
                raise self._failed(atoms, attempts)
            if changed := _physics_changed(folder):
                attempts[-1]["reason"] += (
                    f"; the usual remedy changes {', '.join(changed)}, and so the label: it is "
                    "not taken"
                )
                raise self._failed(atoms, attempts)
            before = folder
        back = np.argsort(order)
        forces = result.forces_eV_per_A[back]
        stress = stress_of(atoms, box, result.stress_eV_per_A3)
        demand_finite(atoms, result.energy_eV, forces, stress)
        meta = {
            "wall_s": sum(float(a["wall_s"] or 0.0) for a in attempts),
            "elapsed_s": round(time.monotonic() - start, 3),
            "attempts": attempts,
            "scf_steps": result.scf_steps,
            "vasp_version": result.version,
            "gap_eV": result.gap_eV,
        }
        return finished_label(atoms, result.energy_eV, forces, stress, settings, meta)

    def _prepare(self, folder: Path, before: Path | None, box: Atoms) -> Path:
        """Write the inputs of an attempt beside its folder and return where they are."""
        fresh = folder.with_name(f"{folder.name}.inputs")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write_inputs(fresh, box, kmesh(box, self.choice.kspacing_per_A), self.choice)
        if before is not None:
            shutil.copy(before / "INCAR", fresh / "INCAR")
        return fresh

    def _attempt(
        self, folder: Path, fresh: Path, box: Atoms
    ) -> tuple[Result | NoResultError, float | None, bool]:
        """Return the outcome with the inputs in `fresh`, its time, and whether it was there."""
        if _same_inputs(folder, fresh):
            try:
                found = read_vasprun(folder / "vasprun.xml", box)
            except NoResultError:
                pass  # run again
            else:
                shutil.rmtree(fresh)
                return found, None, True
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        for name in _INPUTS[:3]:  # as they were before anything mended them
            shutil.copy(folder / name, folder / f"{name}.given")
        command = self.choice.command
        variables = os.environ | {"OMP_NUM_THREADS": str(self.choice.threads)}
        try:
            ended = run_program(
                command,
                cwd=folder,
                stdout=folder / OUTPUT,
                timeout_s=self.choice.timeout_s,
                env=variables,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise OracleError(
                f"{command[0]} cannot be started ({error.strerror}); correct oracle.command"
            ) from error
        outcome: Result | NoResultError
        if ended.timed_out:
            outcome = NoResultError("time limit", f"{ended.describe()}; raise oracle.timeout_s")
        else:
            try:
                outcome = read_vasprun(folder / "vasprun.xml", box)
            except NoResultError as error:
                outcome = NoResultError(error.kind, f"{error} ({ended.describe()})")
        if isinstance(outcome, Result):
            _tidy(folder)
        return outcome, round(ended.wall_s, 3), False

    def _failed(self, atoms: Atoms, attempts: list[dict[str, Any]]) -> OracleError:
        times = f" ({len(attempts)} attempts)" if len(attempts) > 1 else ""
        reason = f"{atoms.get_chemical_formula()}: {attempts[-1]['reason']}{times}"
        return OracleError(reason, {"attempts": attempts})


def _mend(folder: Path) -> list[str]:
    """Let custodian's handlers change the inputs in `folder`; return what they did."""
    done: list[str] = []
    for handler in (
        VaspErrorHandler(output_filename=OUTPUT),
        StdErrHandler(output_filename=OUTPUT),
        UnconvergedErrorHandler(),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if not handler.check(str(folder)):
                    continue
                found: Mapping[str, Any] = handler.correct(str(folder))
            except Exception:  # noqa: S112 - a handler that stumbles over a broken file knows no cure
                continue
        actions = found.get("actions")
        if actions:
            done.append(
                json.dumps({"errors": found.get("errors"), "actions": actions}, default=str)
            )
            break  # one change at a time
    return done


def _physics_changed(folder: Path) -> list[str]:
    """Return what the remedies changed that is part of the label."""
    given = Incar.from_file(folder / "INCAR.given")
    now = Incar.from_file(folder / "INCAR")
    changed = [name for name in PHYSICAL if given.get(name) != now.get(name)]
    for name in ("KPOINTS", "POSCAR"):
        after = (folder / name).read_text() if (folder / name).exists() else ""
        if after != (folder / f"{name}.given").read_text():
            changed.append(name)
    return changed


def _same_inputs(folder: Path, fresh: Path) -> bool:
    try:
        return all(
            (folder / f"{name}.given").read_text() == (fresh / name).read_text()
            for name in _INPUTS[:3]
        )
    except OSError:
        return False


def _tidy(folder: Path) -> None:
    """Remove what no label needs; the licensed POTCAR above all."""
    for path in folder.iterdir():
        if path.is_file() and path.name not in _KEPT and not path.name.endswith(".given"):
            path.unlink()
