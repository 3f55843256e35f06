"""Run inside a built environment: one model, one crystal, and derivatives by finite differences.

    python smoke_test.py --source FILE --model ARG --device cpu --out FILE

Imports numpy, ase and the standard library, as nothing else is sure to be there. Forces F and
stress sigma are compared with the energy E along random directions d of all the atoms and e of
the cell:

    dE/dt at x + t d      = - sum(F * d)
    dE/dt at (1 + t e) x  = V * sum(sigma * e)

by the five-point central difference, whose error is of fourth order.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.stress import voigt_6_to_full_3x3_stress

_SEED = 20260401
_DIRECTIONS = 2
# Small enough that a neighbour does not cross a cutoff that is not quite smooth (CHGNet's forces
# are off by 0.01 eV/angstrom with 0.015), large enough for energies in single precision.
_STEP_A = 0.005
_STRAIN = 0.002
# Single precision leaves about 1e-6 of an energy of 100 eV, over the step.
_FORCE_TOLERANCE = (0.01, 0.02)  # eV/angstrom absolute, and relative
_STRESS_TOLERANCE = (0.002, 0.03)  # eV/angstrom^3 absolute, and relative
_CUBIC = ("fcc", "bcc", "diamond", "sc")


class SmokeTestError(RuntimeError):
    """A model that gives no or wrong numbers."""


def load(source: Path, model: str, device: str, options: dict[str, Any]) -> Any:
    """Return the calculator that the `setup` of an environment file makes."""
    return imported(source).setup(model, device, **options)


def imported(source: Path) -> Any:
    """Return an environment file as a module."""
    name = source.stem.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, source)
    if spec is None or spec.loader is None:
        raise SmokeTestError(f"{source} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def crystal(elements: Sequence[str]) -> Atoms:
    """Return a small crystal of `elements`, strained and rattled, always the same.

    The first element with a cubic reference structure gives the lattice; the sites take the
    elements in turn, and the volume is scaled with the mean of their covalent radii.
    """
    cubic = [e for e in elements if _symmetry(e) in _CUBIC]
    lattice = cubic[0] if cubic else elements[0]
    if cubic:
        atoms = bulk(lattice, cubic=True)
    else:
        spacing = max(2.3 * covalent_radii[atomic_numbers[lattice]], 1.5)
        atoms = bulk(lattice, "sc", a=spacing)
    while len(atoms) < max(4, len(elements)):
        atoms *= (1, 1, 2)
    symbols = [elements[i % len(elements)] for i in range(len(atoms))]
    mean = np.mean([covalent_radii[atomic_numbers[s]] for s in symbols])
    scale = mean / covalent_radii[atomic_numbers[lattice]]
    atoms.symbols = symbols
    rng = np.random.default_rng(_SEED)
    strain = np.eye(3) + 0.02 * rng.normal(size=(3, 3))
    atoms.set_cell(scale * atoms.cell[:] @ strain, scale_atoms=True)
    atoms.positions += 0.06 * rng.normal(size=(len(atoms), 3))
    return atoms


def chosen_elements(asked: str, calculator: Any, default: str) -> list[str]:
    """Return the elements asked for, or what the model tells, or the default, or silicon."""
    told = getattr(calculator, "elements", None)
    if asked or not told:
        return [e for e in (asked or default or "Si").split(",") if e]
    return list(told)


def derivative(energy: Callable[[float], float], step: float) -> float:
    """Return dE/dt at 0 by the five-point central difference."""
    return (8.0 * (energy(step) - energy(-step)) - (energy(2.0 * step) - energy(-2.0 * step))) / (
        12.0 * step
    )


def force_error(atoms: Atoms, calculator: Any, forces: np.ndarray) -> float:
    """Return the largest difference along random directions (eV/angstrom)."""
    rng = np.random.default_rng(_SEED + 1)
    worst = 0.0
    for _ in range(_DIRECTIONS):
        direction = rng.normal(size=forces.shape)
        direction /= np.linalg.norm(direction)

        def energy(t: float, along: np.ndarray = direction) -> float:
            moved = atoms.copy()
            moved.positions += t * along
            return energy_of(moved, calculator)

        numerical = derivative(energy, _STEP_A * np.sqrt(len(atoms)))
        worst = max(worst, abs(numerical + float(np.sum(forces * direction))))
    return worst


def stress_error(atoms: Atoms, calculator: Any, stress: np.ndarray) -> float:
    """Return the largest difference along random strains (eV/angstrom^3)."""
    rng = np.random.default_rng(_SEED + 2)
    full = voigt_6_to_full_3x3_stress(stress)
    worst = 0.0
    for n in range(_DIRECTIONS):
        strain = np.eye(3) if n == 0 else rng.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)

        def energy(t: float, along: np.ndarray = strain) -> float:
            strained = atoms.copy()
            strained.set_cell(atoms.cell[:] @ (np.eye(3) + t * along), scale_atoms=True)
            return energy_of(strained, calculator)

        numerical = derivative(energy, _STRAIN) / atoms.get_volume()
        worst = max(worst, abs(numerical - float(np.sum(full * strain))))
    return worst


def energy_of(atoms: Atoms, calculator: Any) -> float:
    """Return the energy that is consistent with the forces (eV)."""
    atoms.calc = calculator
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except NotImplementedError:  # ASE's PropertyNotImplementedError
        return float(atoms.get_potential_energy())


def judge(atoms: Atoms, calculator: Any, *, conservative: bool) -> dict[str, Any]:
    """Return the numbers of a smoke test. Raises SmokeTestError for what must not be."""
    start = time.perf_counter()
    energy = energy_of(atoms, calculator)
    first_s = time.perf_counter() - start
    forces = np.asarray(atoms.get_forces(), dtype=float)
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        raise SmokeTestError(f"the energy ({energy} eV) or a force is not finite")
    if forces.shape != (len(atoms), 3):
        raise SmokeTestError(f"forces of {len(atoms)} atoms have the shape {forces.shape}")
    stress: np.ndarray | None
    try:
        stress = np.asarray(atoms.get_stress(), dtype=float)
    except (NotImplementedError, KeyError):
        stress = None
    if stress is not None and not np.isfinite(stress).all():
        raise SmokeTestError("the stress is not finite")
    largest = float(abs(forces).max())
    off = force_error(atoms, calculator, forces)
    allowed = _FORCE_TOLERANCE[0] + _FORCE_TOLERANCE[1] * float(np.linalg.norm(forces))
    if conservative and off > allowed:
        raise SmokeTestError(
            f"forces are not derivatives of the energy: off by {off:.3g} eV/angstrom (largest "
            f"force {largest:.3g})"
        )
    stress_off = None
    if stress is not None:
        stress_off = stress_error(atoms, calculator, stress)
        allowed = _STRESS_TOLERANCE[0] + _STRESS_TOLERANCE[1] * float(np.linalg.norm(stress))
        if conservative and stress_off > allowed:
            raise SmokeTestError(
                f"the stress is not the derivative of the energy: off by {stress_off:.3g} "
                f"eV/angstrom^3 (largest component {abs(stress).max():.3g})"
            )
    moved = atoms.copy()
    moved.positions[0] += 0.02
    start = time.perf_counter()
    energy_of(moved, calculator)
    return {
        "formula": atoms.get_chemical_formula(),
        "energy_eV": energy,
        "largest_force_eV_per_A": largest,
        "force_error_eV_per_A": off,
        "stress_error_eV_per_A3": stress_off,
        "first_call_s": first_s,
        "call_s": time.perf_counter() - start,
    }


def main() -> None:
    """Load the model, test it, and write what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--elements", default="", help="asked for")
    parser.add_argument("--default-elements", default="", help="where the model does not tell")
    parser.add_argument("--predicted-forces", action="store_true")
    parser.add_argument("--load-only", action="store_true")
    parser.add_argument("--import-only", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    start = time.perf_counter()
    calculator = imported(given.source)
    if not given.import_only:
        calculator = calculator.setup(given.model, given.device, **given.options)
    found: dict[str, Any] = {"load_s": time.perf_counter() - start}
    if not given.load_only and not given.import_only:
        elements = chosen_elements(given.elements, calculator, given.default_elements)
        found |= judge(crystal(elements), calculator, conservative=not given.predicted_forces)
        found["elements"] = elements
    found |= {
        "python": sys.version.split()[0],
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "numpy": np.__version__,
        "ase": ase.__version__,
    }
    import rootstock

    found["rootstock"] = next(iter(rootstock.__path__))
    if (torch := sys.modules.get("torch")) is not None:
        found["torch"] = torch.__version__
    given.out.write_text(json.dumps(found))


def _symmetry(element: str) -> str:
    state = reference_states[atomic_numbers[element]]
    return str(state["symmetry"]) if state and "a" in state else ""


if __name__ == "__main__":
    main()
