"""Swap Monte Carlo: atoms of unlike elements change places, between short stretches of MD.

MD does not change which atom sits where in a crystal. A Metropolis step exchanges the
elements of two atoms and is taken with probability min(1, exp(-dE / k_B T)): with equal
numbers of proposals each way this leaves the canonical distribution unchanged
(Metropolis et al., J. Chem. Phys. 21, 1087 (1953); the hybrid with MD as in Sadigh et al.,
Phys. Rev. B 85, 184203 (2012), at fixed composition).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.md.langevinbaoab import LangevinBAOAB

from pyacemaker.dynamics.base import GammaSample, MDRequest, MDResult
from pyacemaker.dynamics.start import (
    MDRequestError,
    check_request,
    collapse_distance,
    empty_folder,
    shortest_distance,
    starting_atoms,
)
from pyacemaker.potential import Potential, PotentialError

SWAPS_PER_STRETCH = 10


def swap_once(
    atoms: Atoms, temperature_K: float, rng: np.random.Generator, energy_eV: float | None = None
) -> tuple[bool, float]:
    """Propose one exchange of two unlike atoms; return (taken, energy in eV after it).

    `atoms` carries a calculator and is changed in place where the exchange is taken. A momentum
    goes with its place, scaled to the kinetic energy it had. Raises ValueError for one element.
    """
    before = float(atoms.get_potential_energy()) if energy_eV is None else energy_eV
    numbers = atoms.numbers
    if len(set(numbers.tolist())) < 2:
        raise ValueError("there is nothing to swap: all atoms are of one element")
    first = int(rng.integers(len(atoms)))
    unlike = np.flatnonzero(numbers != numbers[first])
    second = int(unlike[rng.integers(len(unlike))])
    _exchange(atoms, first, second)
    after = float(atoms.get_potential_energy())
    threshold = rng.random()
    gain = (after - before) / (units.kB * temperature_K)
    if math.isfinite(after) and (gain <= 0 or threshold < math.exp(-gain)):
        return True, after
    _exchange(atoms, first, second)
    return False, before


def _exchange(atoms: Atoms, first: int, second: int) -> None:
    masses, momenta = atoms.get_masses(), atoms.get_momenta()
    numbers = atoms.numbers.copy()
    numbers[[first, second]] = numbers[[second, first]]
    atoms.numbers = numbers
    new = masses.copy()
    new[[first, second]] = masses[[second, first]]
    atoms.set_masses(new)
    atoms.set_momenta(momenta * np.sqrt(new / masses)[:, None])


@dataclass
class SwapMonteCarlo:
    """Runs `request.steps` of MD (Langevin, fixed cell) with ten proposals before each stretch.

    A stretch has `check_every` steps. Proposals whose gamma exceeds the threshold halt the run
    with the proposed structure: that is what the potential does not know.
    """

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "swap-mc"

    def run(self, request: MDRequest, workdir: Path) -> MDResult:
        """Run in `workdir` (emptied). See `dynamics.base.Dynamics`.

        Raises MDRequestError for one element or a pressure, PotentialError for a broken
        potential.
        """
        begun = time.monotonic()
        check_request(request, workdir)
        if request.pressure_GPa is not None:
            raise MDRequestError("swap Monte Carlo runs at a fixed cell: leave the pressure out")
        if len(set(request.atoms.get_chemical_symbols())) < 2:
            raise MDRequestError("swap Monte Carlo needs two elements or more")
        atoms = starting_atoms(request)
        calculator = Potential.load(request.potential).calculator()
        atoms.calc = calculator
        empty_folder(workdir)
        run = _Run(request, atoms, calculator)
        try:
            status, message = run.go()
        except (PotentialError, FloatingPointError, ValueError, np.linalg.LinAlgError) as error:
            status, message = "failed", f"the run broke down at step {run.steps_done}: {error}"
        return MDResult(
            status=status,
            steps_done=run.steps_done,
            frame=run.last,
            trace=tuple(run.trace),
            engine=self.name,
            message=message,
            wall_s=time.monotonic() - begun,
            warnings=(f"{run.taken} of {run.proposed} swaps were taken",),
        )


class _Run:
    def __init__(self, request: MDRequest, atoms: Atoms, calculator: Any) -> None:
        self.request, self.atoms, self.calculator = request, atoms, calculator
        self.rng = np.random.default_rng([request.seed, 2])
        self.steps_done = self.taken = self.proposed = 0
        self.trace: list[GammaSample] = []
        self.last: Atoms = atoms.copy()
        self.last.set_array("gamma", np.full(len(atoms), np.nan))

    def go(self) -> tuple[Literal["completed", "halted", "failed"], str]:
        request, atoms = self.request, self.atoms
        step = request.timestep_fs * units.fs
        if message := self._look():
            return "halted", message
        while self.steps_done < request.steps:
            temperature = request.temperature_K[0]
            energy: float | None = None
            for _ in range(SWAPS_PER_STRETCH):
                took, energy = swap_once(atoms, temperature, self.rng, energy)
                self.proposed += 1
                self.taken += took
                if took and (message := self._look()):
                    return "halted", message
            stretch = min(request.check_every, request.steps - self.steps_done)
            LangevinBAOAB(
                atoms, step, temperature_K=temperature, T_tau=100 * step, rng=self.rng
            ).run(stretch)
            self.steps_done += stretch
            if message := self._look():
                return "halted", message
            limit = collapse_distance(atoms)
            if shortest_distance(atoms, limit) < limit:
                return "failed", f"two atoms collapsed at step {self.steps_done}"
        return "completed", ""

    def _look(self) -> str:
        """Keep the structure and return why it halts the run, if it does."""
        atoms, request = self.atoms, self.request
        atoms.get_potential_energy()
        gammas = np.array(self.calculator.results["gamma"])
        worst = float(gammas.max())
        time_fs = self.steps_done * request.timestep_fs
        self.trace.append(
            GammaSample(self.steps_done, time_fs, float(atoms.get_temperature()), worst)
        )
        self.last = atoms.copy()
        self.last.set_array("gamma", gammas)
        if worst > request.gamma_halt:
            return f"gamma {worst:.3g} exceeds {request.gamma_halt:g} at step {self.steps_done}"
        return ""
