"""Why an SCF does not converge, read from how its estimated accuracy went.

The estimated accuracy is an upper bound of the energy error in Ry, one for each step. Its
logarithm falls along a straight line where the mixing is right (linear convergence, see
P. Pulay, Chem. Phys. Lett. 73, 393 (1980)), hangs where it is wrong, and in long metallic
cells the slow modes of the dielectric response slop (G. P. Kerker, Phys. Rev. B 23, 3082
(1981)).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

# Per step, in decades of accuracy.
_FALLS = 0.02
_A_STEP_UP = 0.02
_MOST_UPS = 0.42
_NOISE_RY = 1e-6
_LONG_CELL_A, _VERY_LONG_CELL_A = 12.0, 20.0
_MOMENT_MUB = 0.05


@dataclass
class SCF:
    """What an output tells of one SCF. Accuracies and energies in Ry, moments in Bohr magnetons."""

    accuracy: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    total_moment: list[float] = field(default_factory=list)
    absolute_moment: list[float] = field(default_factory=list)
    betas: list[float] = field(default_factory=list)
    unconverged_bands: list[int] = field(default_factory=list)
    converged: bool | None = None
    steps_said: int | None = None


@dataclass(frozen=True)
class Setting:
    """What of the system matters to how an SCF goes."""

    longest_edge_A: float | None = None
    smeared: bool = False
    atoms: int = 1
    conv_thr_Ry: float | None = None


def why_not_converged(scf: SCF, setting: Setting) -> tuple[str, str]:
    """Return the class of an SCF that did not converge, and the words that say why."""
    steps = [a for a in scf.accuracy if math.isfinite(a) and a > 0]
    if len(steps) < 2:
        return "scf_not_converged", f"only {len(steps)} steps are told"
    logs = [math.log10(a) for a in steps]
    tail = logs[-max(6, len(logs) // 2) :]
    rate = _slope(tail)
    changes = [b - a for a, b in itertools.pairwise(tail)]
    ups = sum(change > _A_STEP_UP for change in changes) / len(changes)
    told = (
        f"accuracy {steps[0]:.1e} -> {steps[-1]:.1e} Ry in {len(steps)} steps, "
        f"{-rate:.2f} decades gained a step, {ups:.0%} of the last steps up"
    )
    falling = rate < -_FALLS and ups <= _MOST_UPS and tail[-1] < tail[0]
    if (moment := _unsettled_moment(scf, setting)) is not None and (not falling or moment[1]):
        return "scf_not_converged_magnetic", f"{told}; {moment[0]}"
    if falling:
        return "scf_not_converged_slow", told
    if ups < 0.2 and rate <= _FALLS:
        if steps[-1] < _NOISE_RY * setting.atoms and abs(rate) < _FALLS / 2:
            return "scf_not_converged_stagnant", told
        return "scf_not_converged_slow", told
    if max(tail) < math.log10(_NOISE_RY * setting.atoms) and abs(rate) < _FALLS:
        return "scf_not_converged_stagnant", told
    edge = setting.longest_edge_A
    if edge is not None and (
        edge >= _VERY_LONG_CELL_A or (edge >= _LONG_CELL_A and setting.smeared)
    ):
        return "scf_not_converged_sloshing", f"{told}; the cell is {edge:.0f} angstrom long"
    return "scf_not_converged_oscillating", told


def _slope(values: Sequence[float]) -> float:
    """Return the Theil-Sen slope: the median over all pairs, deaf to outliers."""
    values = values[-60:]
    slopes = [
        (values[j] - values[i]) / (j - i)
        for i in range(len(values))
        for j in range(i + 1, len(values))
    ]
    return median(slopes)


def _unsettled_moment(scf: SCF, setting: Setting) -> tuple[str, bool] | None:
    """Return how the moments of the last steps kept changing, and whether one flipped."""
    for name, moments in (
        ("total", scf.total_moment),
        ("absolute", scf.absolute_moment),
    ):
        tail = moments[-max(5, len(moments) // 2) :]
        if len(tail) < 4:
            continue
        size = max(abs(m) for m in tail)
        spread = max(tail) - min(tail)
        least = max(_MOMENT_MUB * setting.atoms, 0.1 * size)
        turns = sum(
            (b - a) * (c - b) < 0 for a, b, c in zip(tail, tail[1:], tail[2:], strict=False)
        )
        if spread < least:
            continue
        flipped = min(tail) < -least / 2 and max(tail) > least / 2
        if flipped or turns >= 2 or abs(tail[-1] - tail[-2]) > least / 4:
            what = "flipped" if flipped else "kept changing"
            return (
                f"the {name} moment {what}, {min(tail):.2f} to {max(tail):.2f} Bohr magnetons",
                flipped,
            )
    return None
