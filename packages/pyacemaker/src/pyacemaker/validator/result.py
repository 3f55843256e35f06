"""What every gate's result is made with: failures, references, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ase import Atoms

from pyacemaker.provenance import tag
from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.settings import ValidationSettings


def failed(name: str, reason: str) -> CheckResult:
    """Return a no-go without numbers."""
    return CheckResult(name, False, reason)


def against_reference(
    numbers: Mapping[str, float], settings: ValidationSettings
) -> tuple[list[str], dict[str, float]]:
    """Compare with the reference values given in the settings.

    Returns the complaints (one for each value further off than the tolerance) and the
    relative deviations, named `<quantity>_deviation_from_reference`.
    """
    complaints: list[str] = []
    deviations: dict[str, float] = {}
    for key, wanted in settings.reference.items():
        if key not in numbers:
            continue
        deviation = numbers[key] / wanted - 1
        deviations[f"{key}_deviation_from_reference"] = deviation
        if abs(deviation) > settings.reference_tolerance:
            complaints.append(
                f"{key} = {numbers[key]:.4g} is {100 * deviation:+.0f} % off the reference "
                f"{wanted:.4g} ({100 * settings.reference_tolerance:.0f} % allowed)"
            )
    return complaints, deviations


def worth_labelling(structures: Sequence[Atoms], settings: ValidationSettings) -> tuple[Atoms, ...]:
    """Return those small enough to be labelled, at most the number the settings allow."""
    small = [atoms for atoms in structures if len(atoms) <= settings.max_atoms]
    return tuple(small[: settings.max_failure_structures])


def proposed(atoms: Atoms, gate: str, family: str, **details: float | str) -> Atoms:
    """Return a clean, tagged copy of `atoms`.

    Each strain, volume or wave vector is a group of its own (`family`), so that some of a
    failed property's structures reach the training set whatever side a group falls on.
    """
    copy = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    formula = copy.get_chemical_formula(empirical=True)
    return tag(copy, f"validator.{gate}", f"validator.{gate}:{formula}:{family}", **details)
