"""Molecular dynamics by LAMMPS, in its own process, with a watchdog on gamma."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from pyacemaker.dynamics import lammps_input as written
from pyacemaker.dynamics.base import DynamicsError, GammaSample, MDRequest, MDResult
from pyacemaker.dynamics.box import LammpsBox
from pyacemaker.dynamics.gamma_alive import check_gamma_alive
from pyacemaker.dynamics.lammps_output import (
    DumpFrame,
    Halt,
    find_error,
    find_halt,
    read_dump,
    read_trace,
)
from pyacemaker.dynamics.start import (
    check_request,
    empty_folder,
    explosion_warning,
    starting_atoms,
)
from pyacemaker.parts.lammps_wheel import lammps_wheel
from pyacemaker.potential import Potential
from pyacemaker.process import Finished, run_program

Array = NDArray[np.float64]

_BAR = 1.0 / 1.6021765e6  # eV/angstrom^3, by LAMMPS' own constant (update.cpp), undone here
_PROBE_LIMIT_S = 600.0
_ASK_LIMIT_S = 120.0
_HANG_S = 10.0

Status = Literal["completed", "halted", "failed"]


@dataclass(frozen=True)
class LammpsProgram:
    """A LAMMPS that has `pace/extrapolation`.

    `command` starts it, `variables` are set on top of the environment where it runs, and
    `plugins` are loaded first.
    """

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the complete environment of the program."""
        return {**os.environ, **self.variables}


@dataclass(frozen=True)
class SinglePoint:
    """One evaluation by LAMMPS, on the labels' scale and in ASE's frame and sign.

    `energy` (eV) includes the isolated atoms' energies; `forces` (N x 3, eV/angstrom);
    `stress` (6, Voigt, eV/angstrom^3; None where the cell has no volume); `gamma` (N).
    """

    energy: float
    forces: Array
    stress: Array | None
    gamma: Array


def wheel_program(plugin: Path) -> LammpsProgram:
    """Return the `lmp` of the installed wheel with the built `plugin`. Raises PartError."""
    wheel = lammps_wheel()
    return LammpsProgram((str(wheel.lmp),), wheel.variables(), (plugin,))


def named_program(command: Sequence[str]) -> LammpsProgram:
    """Return a user's own LAMMPS, once it has shown that it has ML-PACE.

    `lmp -h` lists what is compiled in; a plugin that LAMMPS_PLUGIN_PATH loads shows only in
    a run. Raises DynamicsError if it does not run or lacks the pair style.
    """
    words = tuple(command)
    if not words:
        raise DynamicsError("the LAMMPS command is empty")
    shown_as = " ".join(words)
    if shutil.which(words[0]) is None:
        raise DynamicsError(f"the LAMMPS command `{shown_as}` is not found")
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    program = LammpsProgram(words, {"OMP_NUM_THREADS": threads})
    told = _ask(program, "-h")
    if "pace/extrapolation" in told:
        return program
    if "Large-scale" not in told:
        first = (told.strip().splitlines() or ["no output"])[0]
        raise DynamicsError(f"the LAMMPS command `{shown_as}` does not run: {first[:200]}")
    with tempfile.TemporaryDirectory(prefix="pyacemaker-lammps-") as scratch:
        probe = Path(scratch) / written.INPUT
        probe.write_text("units metal\npair_style pace/extrapolation\n")
        told = _ask(program, "-in", str(probe), "-log", "none")
    if "ERROR" in told:
        raise DynamicsError(
            f"the LAMMPS command `{shown_as}` has no pair style pace/extrapolation: "
            "build LAMMPS with the package ML-PACE"
        )
    return program


def _ask(program: LammpsProgram, *arguments: str) -> str:
    """Return what the program prints. Raises DynamicsError if it cannot be run."""
    with tempfile.TemporaryDirectory(prefix="pyacemaker-lammps-") as scratch:
        screen = Path(scratch) / "screen.txt"
        try:
            run_program(
                [*program.command, *arguments],
                cwd=Path(scratch),
                stdout=screen,
                timeout_s=_ASK_LIMIT_S,
                env=program.environment(),
            )
        except OSError as error:
            shown_as = " ".join(program.command)
            raise DynamicsError(f"the LAMMPS command `{shown_as}` does not run: {error}") from error
        return screen.read_text(errors="replace")


@dataclass
class LammpsDynamics:
    """Runs MD by LAMMPS: Nose-Hoover NVT, or NPT in which the cell may change its shape.

    With `isotropic` the barostat scales the cell only. gamma of each new potential is
    proved alive before its first run (see `gamma_alive`).
    """

    program: LammpsProgram
    isotropic: bool = False
    _alive: set[str] = field(default_factory=set, repr=False)

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "lammps"

    def run(self, request: MDRequest, workdir: Path) -> MDResult:
        """Run one stretch of MD in `workdir` (emptied). See `dynamics.base.Dynamics`.

        Raises
        ------
        DynamicsError
            If LAMMPS cannot be used at all, the request is impossible, or gamma is dead.
        PotentialError
            If the potential is broken or does not know an element.
        """
        begun = time.monotonic()
        check_request(request, workdir)
        potential = Potential.load(request.potential)
        start = starting_atoms(request)
        empty_folder(workdir)
        warnings = self._check_gamma(potential, start)
        box = LammpsBox.of(start)
        commands = self._commands(potential, start)
        text = written.dynamics_input(request, start, box, commands, isotropic=self.isotropic)
        # LAMMPS ends itself at the time limit; one that hangs is killed a little later
        kill_after_s = None if request.timeout_s is None else 1.1 * request.timeout_s + _HANG_S
        finished = self._execute(start, box, text, workdir, kill_after_s)
        log = _log(workdir)
        trace = read_trace(workdir / written.TRACE, request.timestep_fs)
        halt = find_halt(log)
        error = find_error(log)
        if error is not None and error.startswith("lost atoms"):
            trace = trace[:-1]  # the last look saw only some of the atoms
        if error is not None and not trace and error.startswith("LAMMPS: "):
            raise DynamicsError(f"{error} (before the first step; see {workdir / written.LOG})")
        final = read_dump(workdir / written.FINAL, len(start))
        snapshots = read_dump(workdir / written.SNAPSHOTS, len(start))
        frames = [frame for frame in [*snapshots, *final] if frame.is_finite]
        frame = _frame(start, box, frames[-1] if frames else None)
        status, message = _verdict(request, finished, trace, halt, error, final, log)
        if status == "halted" and trace:
            warnings += explosion_warning(request, trace[-1].temperature_K)
        steps = final[-1].step if final else max((sample.step for sample in trace), default=0)
        return MDResult(
            status=status,
            steps_done=steps,
            frame=frame,
            trace=trace,
            engine=self.name,
            message=message,
            wall_s=time.monotonic() - begun,
            warnings=warnings,
        )

    def energy_forces(self, atoms: Atoms, potential: Potential) -> SinglePoint:
        """Evaluate one structure by LAMMPS. Raises DynamicsError if LAMMPS fails."""
        box = LammpsBox.of(atoms)
        bare: Atoms = atoms.copy()
        bare.set_constraint()
        bare.set_momenta(np.zeros((len(bare), 3)))
        text = written.single_point_input(box, self._commands(potential, bare))
        with tempfile.TemporaryDirectory(prefix="pyacemaker-lammps-") as scratch:
            workdir = Path(scratch)
            finished = self._execute(bare, box, text, workdir, _PROBE_LIMIT_S)
            self._demand_end(finished, workdir)
            numbers = [float(x) for x in (workdir / written.PRESSURE).read_text().split()]
            final = read_dump(workdir / written.FINAL, len(atoms))[-1]
        energy, volume, xx, yy, zz, xy, xz, yz = numbers
        pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * _BAR
        stress = None
        if atoms.cell.rank == 3:
            # LAMMPS divides the virial by its own box, which is not the cell where a
            # direction is not periodic
            tensor = -box.tensor_to_ase(pressure) * (volume / atoms.get_volume())
            stress = np.asarray(full_3x3_to_voigt_6_stress(tensor), dtype=float)
        return SinglePoint(
            energy=energy + potential.reference_energy(atoms),
            forces=box.to_ase(final.block("fx", "fy", "fz")),
            stress=stress,
            gamma=final.columns["f_gamma"],
        )

    def _commands(self, potential: Potential, atoms: Atoms) -> list[str]:
        species = written.AtomTypes.of(atoms).elements
        return potential.lammps_commands(species, gamma=True, plugin_paths=self.program.plugins)

    def _check_gamma(self, potential: Potential, start: Atoms) -> tuple[str, ...]:
        """Prove once for each potential and set of elements that gamma rises when it must."""
        elements = ",".join(sorted(set(start.get_chemical_symbols())))
        key = f"{sorted(potential.manifest.files.items())} {elements}"
        if key in self._alive:
            return ()
        box = LammpsBox.of(start)
        commands = self._commands(potential, start)

        def gammas(probes: Mapping[int, Array]) -> tuple[Array, dict[int, Array]]:
            text = written.probe_input(box, commands, probes)
            with tempfile.TemporaryDirectory(prefix="pyacemaker-lammps-") as scratch:
                workdir = Path(scratch)
                self._demand_end(self._execute(start, box, text, workdir, _PROBE_LIMIT_S), workdir)

                def read(name: str) -> Array:
                    frames = read_dump(workdir / f"probe-{name}.dump", len(start))
                    return frames[-1].columns["f_gamma"]

                return read("start"), {index: read(str(index)) for index in probes}

        cutoff = potential.manifest.cutoff_A
        warnings = check_gamma_alive(start, cutoff, potential.directory, gammas)
        if not warnings:
            self._alive.add(key)
        return warnings

    def _execute(
        self, atoms: Atoms, box: LammpsBox, text: str, workdir: Path, timeout_s: float | None
    ) -> Finished:
        types = written.AtomTypes.of(atoms)
        # a tilted box also where tilt is zero now but the input lets it grow
        tilted = box.is_tilted
        data = written.data_file(atoms, box, types, tilted=tilted)
        (workdir / written.DATA).write_text(data)
        (workdir / written.INPUT).write_text(text)
        command = [
            *self.program.command,
            *("-in", written.INPUT, "-log", written.LOG, "-nocite", "-nb"),
        ]
        try:
            return run_program(
                command,
                cwd=workdir,
                stdout=workdir / "screen.txt",
                timeout_s=timeout_s,
                env=self.program.environment(),
            )
        except OSError as error:
            raise DynamicsError(f"LAMMPS cannot be started: {error}") from error

    @staticmethod
    def _demand_end(finished: Finished, workdir: Path) -> None:
        log = _log(workdir)
        error = find_error(log)
        if error is None and finished.returncode == 0 and written.FINISHED in log:
            return
        raise DynamicsError(f"LAMMPS failed on a single point: {error or finished.describe()}")


def _log(workdir: Path) -> str:
    """Return log and screen: a LAMMPS that dies early writes only to the screen."""
    texts = [workdir / written.LOG, workdir / "screen.txt"]
    return "\n".join(t.read_text(errors="replace") for t in texts if t.is_file())


def _frame(start: Atoms, box: LammpsBox, dumped: DumpFrame | None) -> Atoms:
    """Return the start's copy at the dumped frame; the start itself (gamma NaN) for None."""
    frame: Atoms = start.copy()
    if dumped is None:
        frame.set_array("gamma", np.full(len(start), np.nan))
        return frame
    box.apply(frame, dumped.lower, dumped.vectors, dumped.block("xu", "yu", "zu"))
    velocities = box.to_ase(dumped.block("vx", "vy", "vz"))
    frame.set_momenta(written.momenta_of(frame, velocities), apply_constraint=False)
    frame.set_array("gamma", dumped.columns["f_gamma"].copy())
    return frame


def _verdict(
    request: MDRequest,
    finished: Finished,
    trace: Sequence[GammaSample],
    halt: Halt | None,
    error: str | None,
    final: Sequence[DumpFrame],
    log: str,
) -> tuple[Status, str]:
    """Tell how a run ended, from everything it left. See MDResult.status."""
    if finished.timed_out:
        return "failed", f"LAMMPS was {finished.describe()}"
    bad = [s for s in trace if not (math.isfinite(s.gamma_max) and math.isfinite(s.temperature_K))]
    if bad:
        return "failed", f"temperature or gamma is not a finite number at step {bad[0].step}"
    if error is not None:
        return "failed", error
    if finished.returncode != 0:
        return "failed", f"LAMMPS ended early: {finished.describe()}"
    if written.FINISHED not in log or not final:
        return "failed", "LAMMPS ended early and without a word"
    if not final[-1].is_finite:
        return "failed", "the last frame is not finite"
    if halt is not None and halt.kind == "heat":
        return "failed", f"the temperature ran away: {halt.value:.0f} K at step {halt.step}"
    if halt is not None and halt.kind == "collapse":
        return "failed", f"two atoms collapsed to {halt.value:.3f} angstrom at step {halt.step}"
    gamma = float(final[-1].columns["f_gamma"].max())
    if halt is not None or gamma > request.gamma_halt:
        where = f"step {final[-1].step}"
        return "halted", f"gamma {gamma:.3g} exceeds {request.gamma_halt:g} at {where}"
    if final[-1].step < request.steps:
        reached = f"step {final[-1].step} of {request.steps}"
        if request.timeout_s is not None:
            return "failed", f"stopped at its time limit ({request.timeout_s:g} s) at {reached}"
        return "failed", f"LAMMPS stopped at {reached}"
    return "completed", ""
