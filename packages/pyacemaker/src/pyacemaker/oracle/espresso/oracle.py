"""The oracle that labels by Quantum ESPRESSO."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from pyacemaker.oracle.ase_oracle import finished_label
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.cells import periodic_box, stress_of
from pyacemaker.oracle.espresso.attempt import Limits, Runner
from pyacemaker.oracle.espresso.healing.evidence import Ending
from pyacemaker.oracle.espresso.healing.loop import Healed, heal
from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput
from pyacemaker.oracle.espresso.kmesh import VACUUM_A, kmesh
from pyacemaker.oracle.espresso.pw_input import (
    PSEUDO_FOLDER,
    corrections_of,
    electrons_of,
    species_of,
    upf_name,
    write_input,
)
from pyacemaker.oracle.espresso.pw_output import Result, read_result
from pyacemaker.oracle.espresso.scratch import drop_old_failures, mark_failed, unmark
from pyacemaker.oracle.pseudopotentials import find_pseudopotentials
from pyacemaker.oracle.settings import EspressoSettings
from pyacemaker.oracle.upf import UPF, PseudopotentialError
from pyacemaker.parts.quantum_espresso import quantum_espresso
from pyacemaker.parts.sources import PartError

# What only the user can do, by class of failure.
_ADVICE = {
    "walltime": "; raise oracle.timeout_s",
    "stalled": "; raise oracle.stall_s if it was only slow",
    "out_of_memory": "; raise oracle.max_memory_GB or label fewer at once (workers)",
    "killed": " (out of memory?)",
    "disk_full": "; free some disk, or raise oracle.max_disk_GB",
    "smearing_missing": "; set oracle.smearing: mv for the whole campaign",
    "program_missing": "; correct oracle.command",
}


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
        box = periodic_box(atoms)
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
            elif shutil.which(os.path.expanduser(choice.command[0])) is None:  # noqa: PTH111 - ./pw.x
                raise OracleError(
                    f"oracle.command: there is no program {choice.command[0]!r}; correct it, or "
                    "leave it out to have Quantum ESPRESSO installed"
                )
        except (PseudopotentialError, PartError) as error:
            raise OracleError(str(error)) from error

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Label `atoms`, or read back what was finished in `workdir`.

        Each attempt has a folder of its own, ``attempt_1`` and so on, with ``pw.in`` and
        ``pw.out``. One whose input is the same is not run again if it converged, or ended
        without convergence. What fails is healed as `healing.handlers` has it. Raises
        OracleError with the diagnosis of the last attempt; its `meta` tells all attempts,
        each with the reason of its remedy.
        """
        start = time.monotonic()
        settings = self.settings(atoms)
        found = self._pseudopotentials(atoms)
        box = periodic_box(atoms)
        mesh = kmesh(box, self.choice.kspacing_per_A)
        electrons = electrons_of(self.choice, len(box))
        text = write_input(box, mesh, self.choice, found, electrons)
        runner = self._runner(workdir, box, found)
        unmark(workdir)
        healed = heal(PwInput.parse(text), runner, max_attempts=self.choice.max_attempts)
        attempts = [attempt.as_dict() for attempt in healed.attempts]
        if healed.result is None:
            diagnosis = _diagnosis(atoms, healed)
            mark_failed(workdir, diagnosis)
            drop_old_failures(workdir.parent, self.choice.keep_failed_GB)
            raise OracleError(diagnosis, {"attempts": attempts, "remedies": healed.remedies})
        runner.clean()
        outcome = healed.result
        meta = {
            "wall_s": sum(float(a["wall_s"] or 0.0) for a in attempts),
            "elapsed_s": round(time.monotonic() - start, 3),
            "attempts": attempts,
            "remedies": healed.remedies,
            "scf_steps": outcome.scf_steps,
            "kpoints": outcome.kpoints,
            "smearing_eV": outcome.smearing_eV,
            "magnetization_muB": outcome.magnetization_muB,
            "gap_eV": outcome.gap_eV,
        }
        stress = stress_of(atoms, box, outcome.stress_eV_per_A3)
        return finished_label(
            atoms, outcome.energy_eV, outcome.forces_eV_per_A, stress, settings, meta
        )

    def _runner(self, workdir: Path, box: Atoms, found: Mapping[str, UPF]) -> Runner[Result]:
        def lay(folder: Path) -> None:
            (folder / PSEUDO_FOLDER).mkdir(parents=True)
            for symbol, upf in found.items():
                (folder / PSEUDO_FOLDER / upf_name(symbol)).symlink_to(upf.path.resolve())

        def read(folder: Path, output: Path, ending: Ending | None) -> Result:
            return read_result(folder, output, box, ending)

        choice = self.choice
        limits = Limits(choice.timeout_s, choice.stall_s, choice.max_memory_GB, choice.max_disk_GB)
        return Runner(workdir, self._program, limits, lay, read)

    def _pseudopotentials(self, atoms: Atoms) -> dict[str, UPF]:
        choice = self.choice
        try:
            return find_pseudopotentials(
                species_of(atoms), choice.functional, choice.pseudopotentials, choice.table
            )
        except (PseudopotentialError, PartError) as error:
            raise OracleError(str(error)) from error

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


def _diagnosis(atoms: Atoms, healed: Healed[Result]) -> str:
    """Return why a structure is set aside, in one line, with what a user can do about it."""
    last = healed.attempts[-1].diagnosis
    count = len(healed.attempts)
    times = f" ({count} attempts)" if count > 1 else ""
    said = last.evidence if not last.ok else healed.gave_up
    advice = _ADVICE.get(last.name, "")
    return f"{atoms.get_chemical_formula()}: {last.name}: {said}{times}{advice}"
