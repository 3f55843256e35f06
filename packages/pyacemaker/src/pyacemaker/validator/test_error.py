"""Gate: errors on held-out labels.

High-energy structures (dimers, compressed and hot cells) are in a training set so that the
potential repels where it must, not so that it is accurate there; one of them would
outweigh a hundred near the ground state in an RMSE. So the thresholds apply to structures
within a stated energy above the lower hull of the test set, and the errors of all are
reported beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from scipy.optimize import linprog

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.evaluation import Floats, PotentialError, attach, evaluate, one_line
from pyacemaker.validator.reliability import Reliability, reliability, spread_coverage
from pyacemaker.validator.result import failed
from pyacemaker.validator.settings import ValidationSettings


@dataclass(frozen=True)
class Pair:
    """A label and what the potential says: eV/atom, eV/angstrom (3N), GPa (6, or none).

    `gamma` (N) is the extrapolation grade, `spread` (3N) the predicted standard deviation of
    the forces (a calculator's result `forces_std`); empty where the potential gives none.
    """

    energy: tuple[float, float]
    forces: tuple[Floats, Floats]
    stress: tuple[Floats, Floats]
    gamma: Floats
    spread: Floats


@dataclass(frozen=True)
class TestErrorCheck:
    """Compares energies, forces and stresses with held-out labels."""

    __test__: ClassVar[bool] = False  # pytest: no test case, in spite of its name

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "test_error"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the potential on `test`; `structure` is not used.

        Never proposes structures: those of the test set are labelled, and not to be trained on.
        """
        wanted = self.settings.test_min_structures
        if not test:
            return failed(self.name, "the test set is empty: no error can be stated without labels")
        if len(test) < wanted:
            return failed(self.name, f"{len(test)} test structures, at least {wanted} wanted")
        pairs = []
        for index, labelled in enumerate(test):
            try:
                pairs.append(_pair(labelled, calculator))
            except _LabelError as error:
                return failed(self.name, f"test structure {index} has no usable label: {error}")
            except PotentialError as error:
                return failed(self.name, f"test structure {index}: {error}")
        return self._judge(pairs, [atoms.get_chemical_symbols() for atoms in test])

    def _judge(self, pairs: list[Pair], symbols: list[list[str]]) -> CheckResult:
        settings = self.settings
        above = energies_above_hull(np.array([pair.energy[0] for pair in pairs]), symbols)
        inside = above <= settings.test_energy_window_eV_per_atom
        counted = [pair for pair, use in zip(pairs, inside, strict=True) if use]
        numbers: dict[str, float] = {
            "test_structures": float(len(pairs)),
            "test_structures_in_window": float(len(counted)),
            **_errors(counted, ""),
            **_errors(pairs, "all_"),
        }
        limits = (
            ("energy", "energy_rmse_eV_per_atom", settings.test_energy_rmse_eV_per_atom),
            ("force", "force_rmse_eV_per_A", settings.test_force_rmse_eV_per_A),
            ("stress", "stress_rmse_GPa", settings.test_stress_rmse_GPa),
        )
        complaints, fine = [], []
        for what, key, limit in limits:
            if limit is not None and key not in numbers:
                complaints.append(f"no test structure has a {what} to compare with")
            elif limit is not None:
                words = f"{what} RMSE {_shown(key, numbers[key])}"
                if numbers[key] > limit:
                    complaints.append(f"{words} is above {_shown(key, limit)}")
                else:
                    fine.append(f"{words} ({_shown(key, limit)} allowed)")
        scope = (
            f" on {len(counted)} of {len(pairs)} test structures, those within "
            f"{settings.test_energy_window_eV_per_atom:g} eV/atom of the lowest"
        )
        reason = ("; ".join(complaints) or ", ".join(fine)) + scope
        series = _parity(pairs, above, inside)
        if (found := uncertainty(pairs, settings.test_force_rmse_eV_per_A)) is not None:
            series["uncertainty"] = found.as_dict()
            if found.rank_correlation is not None:
                numbers["gamma_error_rank_correlation"] = found.rank_correlation
        return CheckResult(self.name, not complaints, reason, numbers, series)


def uncertainty(pairs: Sequence[Pair], limit_eV_per_A: float) -> Reliability | None:
    """Return how far gamma (and the predicted spread) can be believed; None without gamma."""
    graded = [pair for pair in pairs if len(pair.gamma)]
    if not graded:
        return None
    errors = [(pair.forces[1] - pair.forces[0]).reshape(-1, 3) for pair in graded]
    found = reliability(
        np.concatenate([pair.gamma for pair in graded]),
        np.linalg.norm(np.concatenate(errors), axis=1),
        limit_eV_per_A,
        predicted_eV_per_A=np.concatenate([_spread_of_atoms(pair) for pair in graded]),
    )
    spread = [pair for pair in pairs if len(pair.spread)]
    if spread:
        coverage, factor = spread_coverage(
            np.concatenate([pair.spread for pair in spread]),
            np.concatenate([pair.forces[1] - pair.forces[0] for pair in spread]),
        )
        found = replace(found, spread=coverage, spread_factor=factor)
    return found


def _spread_of_atoms(pair: Pair) -> Floats:
    """Return the predicted spread of each atom's force as a length (eV/angstrom), or NaN."""
    if not len(pair.spread):
        return np.full(len(pair.gamma), np.nan)
    return np.asarray(np.linalg.norm(pair.spread.reshape(-1, 3), axis=1))


class _LabelError(ValueError):
    """A test structure without energy or forces."""


def energies_above_hull(energies: Floats, symbols: Sequence[Sequence[str]]) -> Floats:
    """Return the energy (eV/atom) of each structure above the lower hull of them all.

    The hull is the cheapest mixture of the given structures of the same composition, by a
    linear programme each; with one element it is the lowest energy.
    """
    species = sorted({symbol for each in symbols for symbol in each})
    shares = np.array([[each.count(s) / len(each) for s in species] for each in symbols])
    if len(species) == 1:
        return np.asarray(energies - energies.min())
    # Only the lowest of each composition can lie on the hull.
    compositions, kind = np.unique(np.round(shares, 9), axis=0, return_inverse=True)
    kind = kind.ravel()
    lowest = np.array([energies[kind == k].min() for k in range(len(compositions))])
    hull = np.empty(len(compositions))
    for k, composition in enumerate(compositions):
        found = linprog(lowest, A_eq=compositions.T, b_eq=composition, bounds=(0, None))
        hull[k] = min(found.fun, lowest[k]) if found.success else lowest[k]
    return np.asarray(energies - hull[kind])


def _pair(labelled: Atoms, calculator: Calculator) -> Pair:
    results: dict[str, Any] = {} if labelled.calc is None else dict(labelled.calc.results)
    has_stress = labelled.cell.rank == 3 and bool(labelled.pbc.all()) and "stress" in results
    try:
        energy = float(labelled.get_potential_energy())
        forces = np.asarray(labelled.get_forces(apply_constraint=False), dtype=float).ravel()
        stress = np.asarray(labelled.get_stress(apply_constraint=False)) if has_stress else None
    except Exception as error:
        raise _LabelError(one_line(error)) from error
    known = np.concatenate([[energy], forces, [] if stress is None else stress])
    if not np.isfinite(known).all():
        raise _LabelError("a value that is not finite")
    state = evaluate(labelled, calculator, stress=has_stress)
    nothing = np.zeros(0)
    said = getattr(calculator, "results", {})
    gamma = np.asarray(said.get("gamma", nothing), dtype=float).ravel()
    spread = said.get("forces_std", nothing)
    if "forces_std" in getattr(calculator, "implemented_properties", ()):
        spread = calculator.get_property("forces_std", attach(labelled, calculator))
    spread = np.asarray(spread, dtype=float).ravel()
    return Pair(
        (energy / len(labelled), state.energy_eV / len(labelled)),
        (forces, state.forces_eV_per_A.ravel()),
        (nothing, nothing)
        if stress is None
        else (stress / units.GPa, state.stress_eV_per_A3 / units.GPa),
        gamma if len(gamma) == len(labelled) else nothing,
        spread if len(spread) == len(forces) else nothing,
    )


def _errors(pairs: list[Pair], prefix: str) -> dict[str, float]:
    """Return RMSE, MAE and the largest error; forces and stresses by component."""
    found = {}
    for name, unit in (("energy", "eV_per_atom"), ("forces", "eV_per_A"), ("stress", "GPa")):
        label, said = (
            np.concatenate([np.atleast_1d(getattr(pair, name)[side]) for pair in pairs])
            for side in (0, 1)
        )
        gap = np.abs(said - label)
        if gap.size == 0:
            continue
        short = name.rstrip("s") if name == "forces" else name
        found[f"{prefix}{short}_rmse_{unit}"] = float(np.sqrt(np.mean(gap**2)))
        found[f"{prefix}{short}_mae_{unit}"] = float(gap.mean())
        found[f"{prefix}{short}_max_{unit}"] = float(gap.max())
    return found


def _parity(
    pairs: list[Pair], above: Floats, inside: np.ndarray[Any, np.dtype[np.bool_]]
) -> dict[str, Any]:
    def joined(name: str, side: int) -> list[float]:
        parts = [np.atleast_1d(getattr(pair, name)[side]) for pair in pairs]
        return [float(x) for x in np.concatenate(parts)]

    return {
        "energy_reference_eV_per_atom": joined("energy", 0),
        "energy_predicted_eV_per_atom": joined("energy", 1),
        "force_reference_eV_per_A": joined("forces", 0),
        "force_predicted_eV_per_A": joined("forces", 1),
        "stress_reference_GPa": joined("stress", 0),
        "stress_predicted_GPa": joined("stress", 1),
        "above_lowest_eV_per_atom": [float(x) for x in above],
        "in_window": [bool(x) for x in inside],
    }


def _shown(key: str, value: float) -> str:
    if key.startswith("energy"):
        return f"{1000 * value:.3g} meV/atom"
    return f"{value:.3g} {'GPa' if key.endswith('GPa') else 'eV/angstrom'}"
