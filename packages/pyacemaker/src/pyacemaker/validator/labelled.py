"""Defects among the labelled structures: what the potential says of their excess energy.

The labels are the oracle's. An excess is the energy of a defective cell above that of as many
atoms of its perfect crystal, where the crystal is the labelled structure of the same
composition with the lowest energy an atom; label and potential are taken on the same two
structures, so nothing needs to be relaxed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.provenance import KEY
from pyacemaker.validator.evaluation import Floats, PotentialError, evaluate


@dataclass(frozen=True)
class Excess:
    """Excess energies (eV a cell) of labelled defects: by the label and by the potential."""

    label_eV: Floats
    potential_eV: Floats

    @property
    def rmse(self) -> float:
        """RMS difference in eV a cell."""
        return float(np.sqrt(np.mean((self.potential_eV - self.label_eV) ** 2)))


def labelled_excess(
    labelled: Sequence[Atoms], generator: str, calculator: Calculator
) -> Excess | None:
    """Compare the structures that `generator` made; None where there is nothing to compare.

    Raises PotentialError.
    """
    usable = [atoms for atoms in labelled if _energy(atoms) is not None]
    defects = [atoms for atoms in usable if _generator(atoms) == generator]
    perfect = [a for a in usable if _generator(a) not in ("vacancy", "surface", "interstitial")]
    label, said = [], []
    for atoms in defects:
        alike = [other for other in perfect if _shares(other) == _shares(atoms)]
        if not alike:
            continue
        ground = min(alike, key=lambda other: (_energy(other) or 0.0) / len(other))
        ratio = len(atoms) / len(ground)
        energies = [evaluate(a, calculator, stress=False).energy_eV for a in (atoms, ground)]
        label.append((_energy(atoms) or 0.0) - ratio * (_energy(ground) or 0.0))
        said.append(energies[0] - ratio * energies[1])
    if not label:
        return None
    return Excess(np.array(label), np.array(said))


def compared(
    labelled: Sequence[Atoms],
    generator: str,
    calculator: Calculator,
    tolerance: float,
    numbers: dict[str, float],
    series: dict[str, Any],
) -> tuple[list[str], str]:
    """Add the comparison to `numbers` and `series`; return (what is wrong, what to tell).

    The RMS difference of the excess energies may be `tolerance` times their RMS size.
    """
    try:
        found = labelled_excess(labelled, generator, calculator)
    except PotentialError as error:
        return [f"on a labelled {generator} {error}"], ""
    if found is None:
        return [], ""
    relative = found.rmse / max(float(np.sqrt(np.mean(found.label_eV**2))), 1e-6)
    numbers |= {
        f"labelled_{generator}_structures": float(len(found.label_eV)),
        f"labelled_{generator}_energy_rmse_eV": found.rmse,
        f"labelled_{generator}_error_relative": relative,
    }
    series |= {
        f"labelled_{generator}_reference_eV": found.label_eV.tolist(),
        f"labelled_{generator}_predicted_eV": found.potential_eV.tolist(),
    }
    words = (
        f"on {len(found.label_eV)} labelled {generator} cells the excess energy is off by "
        f"{found.rmse:.3g} eV a cell (RMS), {100 * relative:.2g} % of it"
    )
    if relative > tolerance:
        return [f"{words} ({100 * tolerance:g} % allowed)"], ""
    return [], f"; {words}"


def _generator(atoms: Atoms) -> str:
    found = atoms.info.get(KEY)
    return str(found.get("generator", "")) if isinstance(found, dict) else ""


def _shares(atoms: Atoms) -> tuple[tuple[str, float], ...]:
    symbols = atoms.get_chemical_symbols()
    return tuple((s, round(symbols.count(s) / len(symbols), 6)) for s in sorted(set(symbols)))


def _energy(atoms: Atoms) -> float | None:
    """Return the label's energy (eV), None where there is none."""
    if atoms.calc is None:
        return None
    value = atoms.calc.results.get("energy")
    return None if value is None or not np.isfinite(value) else float(value)
