"""What the energy of a pair has to look like where two atoms come too close.

Down to 0.3 angstrom two atoms repel each other, ever more the closer they are: any minimum
inside the bond is a hole into which molecular dynamics falls, where no label has ever been.
"""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLOSEST_A = 0.3
STEP_A = 0.01
# Of the sum of covalent radii. The shortest bond there is (Cr2, 0.60) lies outside the first;
# inside the second an ordinary bond still repels.
WALL_FRACTION = 0.55
BOND_FRACTION = 0.9
LEAST_REPULSION_eV = 5.0  # at 0.3 angstrom; H2, the softest, has more than 6 (Wolniewicz 1993)
RIPPLE_eV = 0.05  # a barrier below this traps nothing


def bond_of(first: str, second: str) -> float:
    """Return the sum of two elements' covalent radii (angstrom; Cordero et al. 2008)."""
    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def distances_of(first: str, second: str) -> Array:
    """Return the distances (angstrom) at which a pair is judged, closest first."""
    end = max(BOND_FRACTION * bond_of(first, second), CLOSEST_A + 10 * STEP_A)
    return np.arange(CLOSEST_A, end, STEP_A)


def hole_in(distances: Array, energies: Array, bond: float) -> tuple[float, str] | None:
    """Return where (angstrom) and how a pair's energy (eV, above separate atoms) is unsafe.

    None where it is safe: it falls outwards up to `WALL_FRACTION` of the bond, and beyond
    has at most one minimum, the bond.
    """
    if not np.isfinite(energies).all():
        bad = float(distances[~np.isfinite(energies)].max())
        return bad, f"is not finite at {bad:.2f} angstrom"
    steps = np.diff(energies)
    inside = distances[1:] <= max(WALL_FRACTION * bond, CLOSEST_A + 2 * STEP_A)
    rising = np.flatnonzero((steps >= 0.0) & inside)
    if len(rising):
        # The outermost: where atoms on their way in would start to fall.
        place = int(rising[-1]) + 1
        return float(distances[place]), (
            f"falls towards shorter distances inside {distances[place]:.2f} angstrom "
            f"({energies[place]:.3g} eV there)"
        )
    if energies[0] < LEAST_REPULSION_eV:
        return float(distances[0]), (
            f"is only {energies[0]:.3g} eV at {distances[0]:.2f} angstrom "
            f"(at least {LEAST_REPULSION_eV:g} expected)"
        )
    lowest_before = np.minimum.accumulate(energies)
    lowest_after = np.minimum.accumulate(energies[::-1])[::-1]
    # A hole: energy has been lower at a shorter distance, was higher, and falls again outwards.
    barrier = energies - np.maximum(lowest_before, lowest_after)
    top = int(np.argmax(barrier))
    if barrier[top] > RIPPLE_eV:
        return float(distances[int(np.argmin(energies[: top + 1]))]), (
            f"has a hole inside a barrier of {barrier[top]:.3g} eV at {distances[top]:.2f} angstrom"
        )
    return None
