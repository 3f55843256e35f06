"""The oracle that labels by Quantum ESPRESSO."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.files import write_whole
from pyacemaker.oracle.ase_oracle import finished_label
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.espresso.kmesh import VACUUM_A, boxed, kmesh
from pyacemaker.oracle.espresso.pw_input import (
    OUT_FOLDER,
    PREFIX,
    PSEUDO_FOLDER,
    corrections_of,
    electrons_of,
    species_of,
    upf_name,
    write_input,
)
from pyacemaker.oracle.espresso.pw_output import NoResultError, Result, error_block, read_result
from pyacemaker.oracle.espresso.remedies import Failure, remedied
from pyacemaker.oracle.pseudopotentials import find_pseudopotentials
from pyacemaker.oracle.settings import EspressoSettings
from pyacemaker.oracle.upf import UPF, PseudopotentialError
from pyacemaker.parts.quantum_espresso import quantum_espresso
from pyacemaker.parts.sources import PartError
from pyacemaker.process import Finished, run_program

INPUT, OUTPUT, RECORD = "pw.in", "pw.out", "attempt.json"


@dataclass(frozen=True)
class EspressoOracle:
    """Labels by one SCF each. Picklable; pseudopotentials and program are found when used."""

    choice: EspressoSettings

    @property
    def name(self) -> str:
        """Return ``espresso``."""
        return "espresso"

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return functional, checksums, cutoffs (Ry), k-mesh, smearing and spins.

        Raises OracleError where a pseudopotential is missing or unfit.
        """
        choice = self.choice
        box = _box_of(atoms)
        found = self._pseudopotentials(atoms)
        smeared: dict[str, Any] = {"smearing": choice.smearing}
        if choice.smearing != "none":
            smeared["degauss_Ry"] = choice.degauss_Ry
        spins: dict[str, Any] = {"nspin": choice.nspin}
        if choice.nspin == 2:
            spins["starting_magnetization"] = {
                symbol: choice.starting_magnetization.get(symbol, 0.0) for symbol in sorted(found)
            }
        settings = {
            "code": "espresso",
            "functional": choice.functional,
            "pseudopotentials": {symbol: found[symbol].sha256 for symbol in sorted(found)},
            "ecutwfc_Ry": choice.ecutwfc_Ry,
            "ecutrho_Ry": choice.ecutrho_Ry,
            "kmesh": list(kmesh(box, choice.kspacing_per_A)),
            "kspacing_per_A": choice.kspacing_per_A,
            "conv_thr_Ry_per_atom": choice.conv_thr_Ry_per_atom,
            **smeared,
            **spins,
            **corrections_of(choice, atoms),
        }
        if not atoms.pbc.all():
            settings["vacuum_A"] = VACUUM_A
        return settings

    def prepare(self, elements: Iterable[str], say: Callable[[str], None]) -> None:
        """Fetch what labels will need (75 MB and 400 MB, once for this user), telling `say`.

        Not necessary: the first label does it too, silently. Raises OracleError.
        """
        choice = self.choice
        try:
            find_pseudopotentials(
                elements, choice.functional, choice.pseudopotentials, choice.table, say
            )
            if choice.command is None:
                quantum_espresso(say)
        except (PseudopotentialError, PartError) as error:
            raise OracleError(str(error)) from error

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Label `atoms`, or read back what was finished in `workdir`.

        Each attempt has a folder of its own, ``attempt_1`` and so on, with ``pw.in`` and
        ``pw.out``. One whose input is the same is not run again if it converged, or ended
        without convergence. Raises OracleError with the diagnosis of the last attempt;
        its `meta` tells all attempts.
        """
        start = time.monotonic()
        settings = self.settings(atoms)
        found = self._pseudopotentials(atoms)
        box = _box_of(atoms)
        mesh = kmesh(box, self.choice.kspacing_per_A)
        electrons = electrons_of(self.choice, len(box))
        attempts: list[dict[str, Any]] = []
        remedies: list[str] = []
        while True:
            text = write_input(box, mesh, self.choice, found, electrons)
            folder = workdir / f"attempt_{len(attempts) + 1}"
            outcome, recovered = self._attempt(folder, text, box, found)
            record = {
                "remedy": remedies[-1] if remedies else None,
                "recovered": recovered,
                "wall_s": _wall_s(folder),
                "kind": outcome.kind if isinstance(outcome, Failure) else "converged",
                "reason": outcome.message if isinstance(outcome, Failure) else "converged",
            }
            attempts.append(record)
            if isinstance(outcome, Result):
                break
            again = remedied(outcome, electrons, remedies)
            if again is None or len(attempts) >= self.choice.max_attempts:
                raise OracleError(_diagnosis(atoms, outcome, attempts), {"attempts": attempts})
            name, electrons = again
            remedies.append(name)
        meta = {
            "wall_s": sum(float(a["wall_s"] or 0.0) for a in attempts),
            "elapsed_s": round(time.monotonic() - start, 3),
            "attempts": attempts,
            "remedies": remedies,
            "scf_steps": outcome.scf_steps,
            "kpoints": outcome.kpoints,
            "smearing_eV": outcome.smearing_eV,
            "magnetization_muB": outcome.magnetization_muB,
        }
        stress = _stress_of(atoms, box, outcome.stress_eV_per_A3)
        return finished_label(
            atoms, outcome.energy_eV, outcome.forces_eV_per_A, stress, settings, meta
        )

    def _pseudopotentials(self, atoms: Atoms) -> dict[str, UPF]:
        choice = self.choice
        try:
            return find_pseudopotentials(
                species_of(atoms), choice.functional, choice.pseudopotentials, choice.table
            )
        except (PseudopotentialError, PartError) as error:
            raise OracleError(str(error)) from error

    def _attempt(
        self, folder: Path, text: str, box: Atoms, found: Mapping[str, UPF]
    ) -> tuple[Result | Failure, bool]:
        """Return the outcome of the attempt with the input `text`, and whether it was there."""
        if (known := _finished_before(folder, text, box)) is not None:
            return known, True
        command, variables = self._program()
        shutil.rmtree(folder, ignore_errors=True)  # a stale or partial run counts for nothing
        (folder / PSEUDO_FOLDER).mkdir(parents=True)
        for symbol, upf in found.items():
            (folder / PSEUDO_FOLDER / upf_name(symbol)).symlink_to(upf.path.resolve())
        write_whole(folder / INPUT, text)
        try:
            finished = run_program(
                [*command, "-i", INPUT],
                cwd=folder,
                stdout=folder / OUTPUT,
                timeout_s=self.choice.timeout_s,
                env=variables,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise OracleError(
                f"{command[0]} cannot be started ({error.strerror}); correct oracle.command or "
                "leave it out to have Quantum ESPRESSO installed"
            ) from error
        write_whole(
            folder / RECORD,
            json.dumps({"wall_s": round(finished.wall_s, 3), "ended": finished.describe()}),
        )
        outcome = _outcome(folder, finished, box)
        _tidy(folder)
        return outcome, False

    def _program(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the command line and the variables to run it with."""
        threads = self.choice.threads
        if self.choice.command is not None:
            program, *rest = self.choice.command
            if os.sep in program:  # the run has another working directory than we
                program = str(Path(program).expanduser().absolute())
            return (program, *rest), os.environ | {"OMP_NUM_THREADS": str(threads)}
        try:
            espresso = quantum_espresso()
        except PartError as error:
            raise OracleError(str(error)) from error
        return espresso.pw_command(), espresso.variables(threads)


def _box_of(atoms: Atoms) -> Atoms:
    """Return the periodic cell to compute; refuse what is no structure, by an OracleError."""
    if len(atoms) == 0:
        raise OracleError("there is no atom in the structure")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise OracleError(f"{atoms.get_chemical_formula()}: a position or the cell is not finite")
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic, tol=1e-3) < len(periodic):
        raise OracleError(
            f"{atoms.get_chemical_formula()} is periodic but its cell has no volume; give it a "
            "cell, or pbc=False"
        )
    return boxed(atoms)


def _finished_before(folder: Path, text: str, box: Atoms) -> Result | Failure | None:
    """Return what an earlier run with the same input found, where it came to its end."""
    try:
        if (folder / INPUT).read_text() != text:
            return None
        return read_result(folder, folder / OUTPUT, box)
    except OSError:
        return None
    except NoResultError as error:
        # Not to converge is as final as to converge: it would be the same again.
        ended = "JOB DONE." in (folder / OUTPUT).read_text(errors="replace")
        return error.failure if error.failure.kind == "not converged" and ended else None


def _outcome(folder: Path, finished: Finished, box: Atoms) -> Result | Failure:
    if finished.timed_out:
        return Failure(
            "time limit",
            f"pw.x was stopped after its time limit ({finished.wall_s:.0f} s); raise "
            "oracle.timeout_s",
        )
    text = (folder / OUTPUT).read_text(errors="replace")
    if finished.returncode < 0:
        said = error_block(folder, text) or ""
        name = signal.Signals(-finished.returncode).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        also = f": {said}" if said else ""
        return Failure("signal", f"pw.x was killed by {name}{hint}{also}", said)
    try:
        return read_result(folder, folder / OUTPUT, box)
    except NoResultError as error:
        failure = error.failure
        if failure.kind == "bad output" and finished.returncode != 0:
            return Failure("crash", f"{failure.message} ({finished.describe()})", text[-2000:])
        return failure


def _tidy(folder: Path) -> None:
    """Remove what no label needs: densities, waves, copies of pseudopotentials."""
    saved = folder / OUT_FOLDER / f"{PREFIX}.save"
    for path in [*(folder / OUT_FOLDER).glob(f"{PREFIX}.*"), *saved.glob("*")]:
        if path.is_file() and path.name != "data-file-schema.xml":
            with contextlib.suppress(OSError):
                path.unlink()


def _wall_s(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / RECORD).read_text())["wall_s"])
    except (OSError, ValueError, KeyError):
        return None  # killed between the end of pw.x and our note of it


def _diagnosis(atoms: Atoms, failure: Failure, attempts: list[dict[str, Any]]) -> str:
    times = f" ({len(attempts)} attempts)" if len(attempts) > 1 else ""
    return f"{atoms.get_chemical_formula()}: {failure.message}{times}"


def _stress_of(
    atoms: Atoms, box: Atoms, stress_eV_per_A3: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the stress of the structure itself, whose cell may be smaller than the box."""
    if atoms.pbc.all():
        return stress_eV_per_A3
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if not atoms.pbc.any() or volume < 1e-8:
        return np.zeros(6)  # no volume, no stress
    return stress_eV_per_A3 * (abs(float(np.linalg.det(box.cell.array))) / volume)
