"""Design matrix of a linear ACE: what each basis function says of energy, forces and virial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.evaluator import ACEBEvaluator

from pyacemaker.core_weight import core_weights, is_embedded
from pyacemaker.potential.environment import atomic_environment
from pyacemaker.trainer.basis import functions_by_element
from pyacemaker.trainer.gradients import BasisGradients

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """One structure's rows; F is the number of functions of all elements together.

    `energy` (F), `forces` (N x 3 x F, per angstrom), `virial` (6 x F; dE/d(strain), Voigt
    order; None without a cell of three vectors), all for unit coefficients. `projections` are,
    for each element, the B-projections of its atoms (n x F_element): the active set's stuff.
    """

    energy: Array
    forces: Array
    virial: Array | None
    projections: dict[str, Array]


class Projector:
    """Evaluates the basis functions of one basis. Coefficients play no part.

    (A class because the C++ evaluator must outlive its calculator.)
    """

    def __init__(self, basis: ACEBBasisSet) -> None:
        self.basis = basis
        self.elements: tuple[str, ...] = tuple(basis.elements_name)
        self.counts = functions_by_element(basis)
        starts = np.cumsum([0, *self.counts.values()])
        self.slices = {
            e: slice(int(starts[n]), int(starts[n + 1])) for n, e in enumerate(self.elements)
        }
        self.total = int(starts[-1])
        self._species: dict[str, int] = dict(basis.elements_to_index_map)
        self._evaluator = ACEBEvaluator(basis)
        self._calculator = ACECalculator()
        self._calculator.set_evaluator(self._evaluator)
        self._gradients = BasisGradients(basis)

    def projections(self, atoms: Atoms) -> dict[str, Array]:
        """Return for each element the B-projections of its atoms in `atoms` (n x F_element).

        Of an embedded cell only those of the core: the buffer's surroundings are made up.
        """
        self._compute(atoms)
        return self._of_core(atoms, self._by_element(atoms, self._calculator.projections))

    def rows(self, atoms: Atoms) -> Rows:
        """Return energy, force and virial rows of `atoms`, all exact (`trainer.gradients`)."""
        values, forces, virial = self._gradients.compute(atoms)
        by_element = dict(zip(self.elements, values, strict=True))
        energy = self._summed(by_element)
        wanted = atoms.cell.rank == 3 and not is_embedded(atoms)
        core = self._of_core(atoms, by_element)
        return Rows(energy, forces, virial if wanted else None, core)

    def _compute(self, atoms: Atoms) -> None:
        environment = atomic_environment(atoms, float(self.basis.cutoffmax), self._species)
        self._calculator.compute(environment, compute_projections=True)

    def _summed(self, by_element: dict[str, Array]) -> Array:
        return np.concatenate([by_element[e].sum(axis=0) for e in self.elements])

    def _of_core(self, atoms: Atoms, by_element: dict[str, Array]) -> dict[str, Array]:
        if not is_embedded(atoms):
            return by_element
        core = core_weights(atoms) > 0
        symbols = np.array(atoms.get_chemical_symbols())
        return {e: values[core[symbols == e]] for e, values in by_element.items()}

    def _by_element(self, atoms: Atoms, values: Sequence[Sequence[float]]) -> dict[str, Array]:
        symbols = atoms.get_chemical_symbols()
        return {
            e: np.array(
                [v for v, s in zip(values, symbols, strict=True) if s == e], dtype=float
            ).reshape(-1, self.counts[e])
            for e in self.elements
        }
