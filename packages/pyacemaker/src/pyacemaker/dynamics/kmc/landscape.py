"""The energy surface a walk goes over: every look at it is counted, and gamma is watched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE
from numpy.typing import NDArray

from pyacemaker.dynamics.base import DynamicsError

Array = NDArray[np.float64]

_MAX_STEP_A = 0.1


class LostSearchError(Exception):
    """A climb or a relaxation that led nowhere; the message says why. Nothing is wrong."""


class UncertainError(Exception):
    """gamma crossed the threshold: `frame` carries the array `gamma`, one value an atom."""

    def __init__(self, frame: Atoms, gamma: float) -> None:
        self.frame = frame
        self.gamma = gamma
        super().__init__(f"gamma {gamma:.3g}")


class Landscape:
    """A potential, what it is called by, and the gamma above which it is not believed.

    Parameters
    ----------
    calculator
        An ASE calculator; where it gives `gamma` (one value an atom), that is watched at
        every evaluation.
    name
        What identifies the potential: what was found with another name is checked again.
    gamma_halt
        Largest gamma that is believed; None for no watch.

    Attributes
    ----------
    force_calls
        Evaluations so far.
    gamma_max
        Largest gamma since it was last set to None.
    """

    def __init__(self, calculator: Calculator, name: str, gamma_halt: float | None = None) -> None:
        self.calculator = calculator
        self.name = name
        self.gamma_halt = gamma_halt
        self.force_calls = 0
        self.gamma_max: float | None = None

    def attached(self, atoms: Atoms) -> Atoms:
        """Return a copy of `atoms` on this landscape.

        Its energies and forces raise UncertainError where gamma is above `gamma_halt`,
        LostSearchError where they are not finite, and DynamicsError where the calculator fails.
        """
        copy: Atoms = atoms.copy()
        copy.calc = _Watched(self)
        return copy

    def relaxed(self, atoms: Atoms, fmax: float, max_steps: int) -> tuple[Atoms, float]:
        """Return the nearest minimum (positions only) without calculator, and its energy (eV).

        Raises LostSearchError where it does not converge, UncertainError on the way.
        """
        moving = self.attached(atoms)
        # A quasi-Newton step beside a saddle point leads back up to it; FIRE only goes down.
        with FIRE(moving, logfile=None, maxstep=_MAX_STEP_A) as optimiser:
            if not optimiser.run(fmax=fmax, steps=max_steps):
                raise LostSearchError(f"a relaxation did not converge within {max_steps} steps")
        energy = float(moving.get_potential_energy())
        moving.calc = None
        return moving, energy

    def evaluate(self, atoms: Atoms) -> None:
        """Evaluate `atoms` and look at gamma. See `attached` for what is raised."""
        self.force_calls += 1
        try:
            forces = self.calculator.get_property("forces", atoms)
            energy = self.calculator.get_property("energy", atoms)
        except Exception as error:  # whatever a calculator raises: an element it does not know, say
            raise DynamicsError(f"the potential cannot evaluate the structure: {error}") from error
        if not (math.isfinite(energy) and np.isfinite(forces).all()):
            raise LostSearchError("energy or forces are not finite")
        gamma = self.calculator.results.get("gamma")
        if gamma is None:
            return
        highest = float(np.max(gamma))
        self.gamma_max = max(self.gamma_max or 0.0, highest)
        if self.gamma_halt is not None and not highest <= self.gamma_halt:
            frame: Atoms = atoms.copy()
            frame.calc = None
            frame.set_array("gamma", np.array(gamma, dtype=float))
            raise UncertainError(frame, highest)


class _Watched(Calculator):  # type: ignore[misc]
    """Passes everything on to the landscape."""

    def __init__(self, landscape: Landscape) -> None:
        super().__init__()
        self._landscape = landscape
        self.implemented_properties = ["energy", "free_energy", "forces"]

    def calculation_required(self, atoms: Atoms, properties: list[str]) -> bool:
        del properties  # all of them are computed at once
        return bool(self._landscape.calculator.calculation_required(atoms, ["energy", "forces"]))

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        assert atoms is not None  # noqa: S101 - ASE always passes it
        if self.calculation_required(atoms, []):
            if not allow_calculation:
                return None
            self._landscape.evaluate(atoms)
        wanted = "energy" if name == "free_energy" else name
        return self._landscape.calculator.get_property(wanted, atoms)
