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

Array = NDArray[np.float64]

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_STRAIN = 1e-4  # rounding (1e-16 / 1e-4) and truncation (1e-8 x curvature) are both small


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

    def projections(self, atoms: Atoms) -> dict[str, Array]:
        """Return for each element the B-projections of its atoms in `atoms` (n x F_element).

        Of an embedded cell only those of the core: the buffer's surroundings are made up.
        """
        self._compute(atoms, gradients=False)
        return self._of_core(atoms, self._by_element(atoms, self._calculator.projections))

    def rows(self, atoms: Atoms) -> Rows:
        """Return energy, force and virial rows of `atoms`.

        Energies and forces are pyace's own. It gives no virial of a single function, so that
        comes from the projections of twelve slightly strained copies (central differences:
        wrong by about one part in a million, and far cheaper than the gradients of every
        ghost atom, which would be exact).
        """
        self._compute(atoms, gradients=True)
        pulls = np.asarray(self._calculator.forces_bfuncs, dtype=float)  # (N, F, 3)
        by_element = self._by_element(atoms, self._calculator.projections)
        energy = self._summed(by_element)
        wanted = atoms.cell.rank == 3 and not is_embedded(atoms)
        virial = self._virial(atoms) if wanted else None
        core = self._of_core(atoms, by_element)
        return Rows(energy, np.ascontiguousarray(pulls.transpose(0, 2, 1)), virial, core)

    def _virial(self, atoms: Atoms) -> Array:
        virial = np.empty((6, self.total))
        for place, (a, b) in enumerate(_VOIGT):
            sides = []
            for sign in (1.0, -1.0):
                strain = np.eye(3)
                strain[a, b] += 0.5 * sign * _STRAIN
                strain[b, a] += 0.5 * sign * _STRAIN
                strained = atoms.copy()
                strained.set_cell(atoms.cell[:] @ strain, scale_atoms=False)
                strained.positions = atoms.positions @ strain
                sides.append(self._summed(self.projections(strained)))
            virial[place] = (sides[0] - sides[1]) / (2.0 * _STRAIN)
        return virial

    def _compute(self, atoms: Atoms, *, gradients: bool) -> None:
        environment = atomic_environment(atoms, float(self.basis.cutoffmax), self._species)
        self._calculator.compute(environment, compute_projections=True, compute_b_grad=gradients)

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
