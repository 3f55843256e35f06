"""Molecular dynamics by ASE: the same job where LAMMPS cannot run, several times slower."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.io.trajectory import Trajectory
from ase.md.langevinbaoab import LangevinBAOAB
from numpy.typing import NDArray

from pyacemaker.dynamics.base import GammaSample, MDRequest, MDResult
from pyacemaker.dynamics.gamma_alive import check_gamma_alive
from pyacemaker.dynamics.start import (
    MDRequestError,
    check_request,
    collapse_distance,
    empty_folder,
    explosion_warning,
    runaway_temperature,
    shortest_distance,
    starting_atoms,
)
from pyacemaker.potential import Potential, PotentialError
from pyacemaker.potential.calculator import HybridCalculator

Array = NDArray[np.float64]

SLOWER = (
    "molecular dynamics runs by ASE in Python, several times slower than LAMMPS "
    "(`pyacemaker build-plugin` makes LAMMPS usable)"
)
_MOST_SNAPSHOTS = 50


@dataclass
class ASEDynamics:
    """Runs MD by ASE's Langevin integrator (BAOAB), in NPT with a Langevin-Hoover barostat.

    Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013); Quigley and Probert,
    J. Chem. Phys. 120, 11432 (2004). With `isotropic` the barostat scales the cell only.
    Constant pressure needs all three directions periodic.
    """

    isotropic: bool = False
    _alive: set[str] = field(default_factory=set, repr=False)

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "ase"

    def run(self, request: MDRequest, workdir: Path) -> MDResult:
        """Run one stretch of MD in `workdir` (emptied). See `dynamics.base.Dynamics`.

        Raises
        ------
        DynamicsError
            If the request is impossible or gamma is dead.
        PotentialError
            If the potential is broken or does not know an element.
        """
        begun = time.monotonic()
        check_request(request, workdir)
        if request.pressure_GPa is not None and not request.atoms.pbc.all():
            raise MDRequestError(
                "ASE's barostat needs all three directions periodic: use NVT, or LAMMPS"
            )
        potential = Potential.load(request.potential)
        start = starting_atoms(request)
        calculator = potential.calculator()
        slower = (SLOWER,) if potential.manifest.form == "ace" else ()  # LAMMPS has no other
        told = (*slower, *self._check_gamma(potential, calculator, start))
        empty_folder(workdir)
        start.calc = calculator
        with Trajectory(str(workdir / "snapshots.traj"), "w") as snapshots:
            run = _Run(request, start, calculator, snapshots, self.isotropic)
            status, message = run.go()
        if status == "halted":
            told += explosion_warning(request, run.trace[-1].temperature_K)
        return MDResult(
            status=status,
            steps_done=run.steps_done,
            frame=run.last_good,
            trace=tuple(run.trace),
            engine=self.name,
            message=message,
            wall_s=time.monotonic() - begun,
            warnings=told,
        )

    def _check_gamma(
        self, potential: Potential, calculator: HybridCalculator, start: Atoms
    ) -> tuple[str, ...]:
        elements = ",".join(sorted(set(start.get_chemical_symbols())))
        key = f"{sorted(potential.manifest.files.items())} {elements}"
        if key in self._alive:
            return ()

        def gamma_of(positions: Array) -> Array:
            probe: Atoms = start.copy()
            probe.set_constraint()
            probe.set_positions(positions)
            calculator.calculate(probe)
            return np.array(calculator.results["gamma"])

        def gammas(probes: Mapping[int, Array]) -> tuple[Array, dict[int, Array]]:
            pushed: dict[int, Array] = {}
            for index, displacement in probes.items():
                positions = start.get_positions()
                positions[index] += displacement
                pushed[index] = gamma_of(positions)
            return gamma_of(start.get_positions()), pushed

        found = check_gamma_alive(start, potential.manifest.cutoff_A, potential.directory, gammas)
        if not found:
            self._alive.add(key)
        return found


Status = Literal["completed", "halted", "failed"]


class _Run:
    """The state of one run: the integrator, the trace and the last frame that was sound."""

    def __init__(
        self,
        request: MDRequest,
        atoms: Atoms,
        calculator: HybridCalculator,
        snapshots: Any,
        isotropic: bool,
    ) -> None:
        self.request = request
        self.atoms = atoms
        self.calculator = calculator
        self.snapshots = snapshots
        self.isotropic = isotropic
        self.trace: list[GammaSample] = []
        self.steps_done = 0
        self.last_good: Atoms = atoms.copy()
        self.last_good.set_array("gamma", np.full(len(atoms), np.nan))
        self._every_snapshot = request.check_every * max(
            1, math.ceil(request.steps / request.check_every / _MOST_SNAPSHOTS)
        )

    def go(self) -> tuple[Status, str]:
        """Run to the end, a halt or a failure."""
        request = self.request
        begun = time.monotonic()
        try:
            if verdict := self._look():
                return verdict
            integrator = self._integrator()
            first, last = request.temperature_K
            for step in range(1, request.steps + 1):
                if last != first:
                    integrator.set_temperature(first + (last - first) * step / request.steps)
                integrator.step()
                self.steps_done = step
                if (step % request.check_every == 0 or step == request.steps) and (
                    verdict := self._look()
                ):
                    return verdict
                if request.timeout_s is not None and time.monotonic() - begun > request.timeout_s:
                    self._keep()
                    reached = f"step {step} of {request.steps}"
                    return (
                        "failed",
                        f"stopped at its time limit ({request.timeout_s:g} s) at {reached}",
                    )
        except PotentialError as error:
            return "failed", f"the potential cannot be evaluated: {error}"
        except (FloatingPointError, np.linalg.LinAlgError, ValueError, RuntimeError) as error:
            # what ASE and pyace raise on positions or cells that have exploded
            return "failed", f"the run broke down at step {self.steps_done}: {error}"
        return "completed", ""

    def _integrator(self) -> Any:
        request = self.request
        step = request.timestep_fs * units.fs
        stress = None if request.pressure_GPa is None else -request.pressure_GPa * units.GPa
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # heuristics of ASE that are meant here
            return LangevinBAOAB(
                self.atoms,
                step,
                temperature_K=request.temperature_K[0],
                externalstress=stress,
                hydrostatic=self.isotropic,
                T_tau=100 * step,
                P_tau=None if stress is None else 1000 * step,
                # not the seed of the starting velocities: the noise must not repeat them
                rng=np.random.default_rng([request.seed, 1]),
            )

    def _look(self) -> tuple[Status, str] | None:
        """Look at gamma, temperature and distances; return the verdict that ends the run."""
        request, step = self.request, self.steps_done
        atoms = self.atoms
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.get_momenta()).all()):
            return "failed", f"positions or momenta are no longer finite at step {step}"
        atoms.get_potential_energy()
        gamma = float(np.max(self.calculator.results["gamma"]))
        temperature = float(atoms.get_temperature())
        self.trace.append(GammaSample(step, step * request.timestep_fs, temperature, gamma))
        if not (math.isfinite(gamma) and math.isfinite(temperature)):
            return "failed", f"temperature or gamma is not a finite number at step {step}"
        self._keep()
        if step % self._every_snapshot == 0:
            self.snapshots.write(self.last_good)
        if gamma > request.gamma_halt:
            return "halted", f"gamma {gamma:.3g} exceeds {request.gamma_halt:g} at step {step}"
        if temperature > runaway_temperature(request):
            return "failed", f"the temperature ran away: {temperature:.0f} K at step {step}"
        limit = collapse_distance(atoms)
        shortest = shortest_distance(atoms, limit)
        if step > 0 and shortest < limit:
            return "failed", f"two atoms collapsed to {shortest:.3f} angstrom at step {step}"
        return None

    def _keep(self) -> None:
        self.last_good = self.atoms.copy()
        self.atoms.get_potential_energy()
        self.last_good.set_array("gamma", np.array(self.calculator.results["gamma"]))
