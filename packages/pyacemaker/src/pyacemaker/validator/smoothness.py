"""Jumps of the energy and the pressure: what an abrupt cutoff does to a potential.

As the lattice is stretched, neighbour shells cross the cutoff. A smooth function changes
ever less over an ever shorter stretch; a jump does not, and bisection corners it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.validator.evaluation import Floats, evaluate

_SCALES = np.linspace(0.92, 1.08, 41)  # of the lattice constant
_BISECTIONS = 8  # to 1.6e-5 of the lattice constant
_SUSPECTS = 3  # the most uneven steps of each curve


@dataclass(frozen=True)
class Jumps:
    """The largest jumps found, and the lattice scales (of the given cell) they lie at.

    Relative to the range of the curve within 4 % of the given lattice constant.
    """

    energy_relative: float
    energy_at: float
    pressure_relative: float
    pressure_at: float


def find_jumps(crystal: Atoms, calculator: Calculator) -> Jumps:
    """Stretch `crystal` with its ions at fixed fractions. Raises PotentialError."""

    def at(scale: float) -> tuple[float, float]:
        atoms = crystal.copy()
        atoms.set_cell(crystal.cell * scale, scale_atoms=True)
        state = evaluate(atoms, calculator)
        return state.energy_eV / len(atoms), float(-state.stress_eV_per_A3[:3].mean())

    values = np.array([at(float(scale)) for scale in _SCALES])
    near = np.abs(_SCALES - 1) <= 0.0401
    found = []
    for column in (0, 1):
        curve = values[:, column]
        height = max(float(np.ptp(curve[near])), 1e-12)
        jump, where = _largest_jump(curve, lambda x, column=column: at(x)[column])  # type: ignore[misc]
        found.append((float(jump / height), where))
    (energy, energy_at), (pressure, pressure_at) = found
    return Jumps(energy, energy_at, pressure, pressure_at)


def _largest_jump(curve: Floats, function: Callable[[float], float]) -> tuple[float, float]:
    """Return (size, place) of the largest jump of `function`, sampled as `curve`.

    A step that its neighbours do not foretell is bisected towards the surprise: what is
    left in the last interval beyond the local slope is the jump.
    """
    width = float(_SCALES[1] - _SCALES[0])
    slopes = np.diff(curve) / width
    surprise = np.abs(slopes[1:-1] - (slopes[:-2] + slopes[2:]) / 2)
    best = (0.0, 1.0)
    for inner in np.argsort(surprise)[::-1][:_SUSPECTS]:
        left, right = float(slopes[inner]), float(slopes[inner + 2])
        start = low = float(_SCALES[inner + 1])
        high = float(_SCALES[inner + 2])
        at_low, at_high = float(curve[inner + 1]), float(curve[inner + 2])
        beyond = 0.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            value = function(middle)
            half = middle - low
            t = (middle - start) / width
            smooth = half * (left + (right - left) * (0.25 + t / 2))  # slope, neighbours' midpoints
            below, above = abs(value - at_low - smooth), abs(at_high - value - smooth)
            if below > above:
                high, at_high, beyond = middle, value, below
            else:
                low, at_low, beyond = middle, value, above
        if beyond > best[0]:
            best = (beyond, (low + high) / 2)
    return best
