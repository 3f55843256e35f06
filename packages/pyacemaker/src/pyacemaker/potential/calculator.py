"""The potential as an ASE calculator: reference energies + baseline + ACE, with gamma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties
from ase.stress import full_3x3_to_voigt_6_stress
from pyace.basis import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.evaluator import ACEBEvaluator

from pyacemaker.potential.environment import atomic_environment
from pyacemaker.potential.manifest import PotentialError
from pyacemaker.potential.posterior import Posterior
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.gradients import BasisGradients

_VOIGT_OF_PYACE = [0, 1, 2, 5, 4, 3]  # xx yy zz xy xz yz -> xx yy zz yz xz xy
_TOO_CLOSE_A = 1e-3


class HybridCalculator(Calculator):  # type: ignore[misc]  # ASE is untyped
    """Energies on the labels' own scale.

    Results: `energy` and `free_energy` (eV, equal), `energies` (N), `forces`
    (N x 3, eV/angstrom), `stress` (6, eV/angstrom^3; only where the cell has three vectors)
    and `gamma` (N), the extrapolation grade of each atom. Refuses unknown elements. Where the
    fit knows how sure it is, `forces_std` (N x 3, eV/angstrom) is one more property, computed
    only if it is asked for.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "gamma",
    ]
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        basis: Path,
        active_set: Path | None,
        reference_energies: Mapping[str, float],
        baseline: ZblBaseline,
        posterior: Path | None = None,
    ) -> None:
        super().__init__()
        self._posterior = Posterior.read(posterior) if posterior is not None else None
        self._gradients: BasisGradients | None = None
        if posterior is not None:
            named = [*type(self).implemented_properties, "forces_std"]
            self.implemented_properties = named  # type: ignore[misc]  # as ASE's own wrappers do
        self._basis = ACEBBasisSet(str(basis))
        self._evaluator = ACEBEvaluator(self._basis)
        if active_set is not None:
            self._evaluator.load_active_set(str(active_set))
        self._has_active_set = active_set is not None
        self._ace = ACECalculator()
        self._ace.set_evaluator(self._evaluator)
        self._species: dict[str, int] = dict(self._basis.elements_to_index_map)
        self._reference = dict(reference_energies)
        self._baseline = baseline
        self.cutoff_A = float(self._basis.cutoffmax)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute everything at once. Raises PotentialError for what pyace cannot take."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # noqa: S101 - set by the call above
        atoms = self.atoms
        environment = atomic_environment(atoms, self.cutoff_A, self._species)
        nearest = environment.get_minimal_nn_distance() if len(atoms) > 0 else 0.0
        if len(atoms) > 0 and nearest < _TOO_CLOSE_A:
            raise PotentialError(f"{atoms.get_chemical_formula()}: two atoms lie on each other")
        self._ace.compute(environment, compute_projections=self._has_active_set)
        # pyace lists neighbours within its own cutoff: no nearer pair is known beyond it.
        zbl = self._baseline.compute(atoms, min(nearest, self.cutoff_A))
        reference = np.array([self._reference[s] for s in atoms.get_chemical_symbols()])
        energies = np.array(self._ace.energies, dtype=float) + zbl.energies + reference
        energy = float(energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies,
            "forces": np.array(self._ace.forces, dtype=float) + zbl.forces,
        }
        if self._has_active_set:
            self.results["gamma"] = np.array(self._ace.gamma_grade, dtype=float)
        if atoms.cell.rank == 3:
            virial = np.array(self._ace.virial, dtype=float)[_VOIGT_OF_PYACE]
            virial += full_3x3_to_voigt_6_stress(zbl.virial)
            self.results["stress"] = virial / atoms.get_volume()
        if self._posterior is not None and "forces_std" in properties:
            self._gradients = self._gradients or BasisGradients(self._basis)
            rows = self._gradients.compute(atoms)[1]
            self.results["forces_std"] = self._posterior.forces_std(rows)

    def export_properties(self) -> Properties:
        """Return the results ASE has a name for (gamma and forces_std are not among them)."""
        ours = ("gamma", "forces_std")
        return Properties({k: v for k, v in self.results.items() if k not in ours})
