"""Labels by any ASE calculator, named by the dotted name of its class."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.settings import ASESettings

_EMPTY_VOLUME_A3 = 1e-8


@dataclass(frozen=True)
class ASEOracle:
    """An oracle around an ASE calculator, made anew for every label (nothing leaks over)."""

    choice: ASESettings

    @property
    def name(self) -> str:
        """Return ``ase``."""
        return "ase"

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return the calculator's name, the version of its package and its arguments."""
        del atoms  # the same for every structure
        package = self.choice.calculator.partition(".")[0]
        return {
            "code": "ase",
            "calculator": self.choice.calculator,
            "version": _version(package),
            "kwargs": json.loads(json.dumps(self.choice.kwargs, default=str)),
        }

    def prepare(self) -> None:
        """Raise OracleError, in one line with the remedy, where the calculator cannot be made."""
        self._made()

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Compute energy, forces and stress of `atoms`. Raises OracleError."""
        start = time.monotonic()
        given = structure_only(atoms)
        workdir.mkdir(parents=True, exist_ok=True)
        calculator = self._made()
        given.calc = calculator
        try:
            energy = float(given.get_potential_energy(force_consistent=_has_free(calculator)))
            forces = np.array(given.get_forces(), dtype=float)
            stress = _stress(given, self.choice.calculator)
        except OracleError:
            raise
        except Exception as error:
            raise OracleError(
                f"{self.choice.calculator} failed on {atoms.get_chemical_formula()}: "
                f"{_one_line(error)}"
            ) from error
        demand_finite(atoms, energy, forces, stress)
        return finished_label(
            atoms, energy, forces, stress, self.settings(atoms), {"wall_s": _since(start)}
        )

    def _made(self) -> Any:
        make = calculator_class(self.choice.calculator)
        try:
            return make(**self.choice.kwargs)
        except Exception as error:
            raise OracleError(
                f"{self.choice.calculator}(**{self.choice.kwargs}) could not be made: "
                f"{_one_line(error)}; look at oracle.kwargs"
            ) from error


def calculator_class(dotted: str) -> Callable[..., Any]:
    """Import the class of a dotted name. Raises OracleError in one line with the remedy."""
    module, _, name = dotted.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise OracleError(
            f"oracle.calculator {dotted}: there is no module {error.name!r}; install its package "
            "into this environment or correct the name"
        ) from error
    except AttributeError as error:
        raise OracleError(
            f"oracle.calculator {dotted}: the module {module} has no {name!r}; correct the name"
        ) from error
    except Exception as error:
        raise OracleError(
            f"oracle.calculator {dotted}: importing {module} failed: {_one_line(error)}"
        ) from error
    if not (callable(found) and hasattr(found, "get_property")):
        raise OracleError(
            f"oracle.calculator {dotted} is not an ASE calculator class; name one, such as "
            "ase.calculators.emt.EMT"
        )
    return found  # type: ignore[no-any-return]


def structure_only(atoms: Atoms) -> Atoms:
    """Return a copy without calculator and constraints (which would hide forces)."""
    copy: Atoms = atoms.copy()
    copy.set_constraint()
    return copy


def demand_finite(
    atoms: Atoms,
    energy_eV: float,
    forces_eV_per_A: np.ndarray[Any, Any],
    stress_eV_per_A3: np.ndarray[Any, Any],
) -> None:
    """Raise OracleError where a number is not finite or an array has the wrong shape."""
    shapes = {"forces": (forces_eV_per_A, (len(atoms), 3)), "stress": (stress_eV_per_A3, (6,))}
    for what, (array, shape) in shapes.items():
        if array.shape != shape:
            raise OracleError(f"the {what} have the shape {array.shape} instead of {shape}")
    everything = [("energy", np.array(energy_eV)), *((k, v[0]) for k, v in shapes.items())]
    for what, array in everything:
        if not np.isfinite(array).all():
            raise OracleError(
                f"the {what} of {atoms.get_chemical_formula()} is not finite: two atoms may be "
                "too close"
            )


def finished_label(
    atoms: Atoms,
    energy_eV: float,
    forces_eV_per_A: np.ndarray[Any, Any],
    stress_eV_per_A3: np.ndarray[Any, Any],
    settings: dict[str, Any],
    meta: dict[str, Any],
) -> Label:
    """Return the label: a copy of `atoms` that carries the three results."""
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(
        labelled,
        energy=energy_eV,
        free_energy=energy_eV,
        forces=forces_eV_per_A,
        stress=stress_eV_per_A3,
    )
    return Label(labelled, settings, meta)


def _has_free(calculator: Any) -> bool:
    """Say whether the calculator tells the free energy, whose gradient forces are, apart."""
    return "free_energy" in getattr(calculator, "implemented_properties", ())


def _stress(atoms: Atoms, dotted: str) -> np.ndarray[Any, Any]:
    if not atoms.pbc.any() or abs(atoms.cell.volume) < _EMPTY_VOLUME_A3:
        return np.zeros(6)  # a cluster has no stress
    try:
        return np.array(atoms.get_stress(), dtype=float)
    except (PropertyNotImplementedError, NotImplementedError) as error:
        raise OracleError(
            f"{dotted} gives no stress for a periodic structure, and the fit needs it; choose "
            "another calculator"
        ) from error


@functools.cache  # it reads the records of every installed package: a second
def _version(package: str) -> str:
    names = importlib.metadata.packages_distributions().get(package, [package])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # a module of the user's own


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)


def _one_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
