"""Query by committee: the structures on whose forces fits to parts of the labels disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet

from pyacemaker.core_weight import core_weights
from pyacemaker.selection.base import Selection
from pyacemaker.selection.environments import ByEnvironments
from pyacemaker.selection.maxvol import MaxVolSelector
from pyacemaker.trainer.baseline import baseline_of
from pyacemaker.trainer.basis import basis_configuration
from pyacemaker.trainer.design import Projector
from pyacemaker.trainer.equations import equations_of, functions_of, groups_of
from pyacemaker.trainer.regression import Equations, Regression
from pyacemaker.trainer.row_cache import RowCache
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import shares_of, targets_of

Array = NDArray[np.float64]

MEMBERS = 8
FEWEST_GROUPS = 3
"""With fewer independent groups of labels nothing can be left out, and no committee is formed."""


class CommitteeSelector(ByEnvironments):
    """Chooses by the spread of the forces of an ensemble of linear ACE fits.

    Each member is fitted, by the product's own solver, to as many groups of labels as there
    are, drawn with replacement (bootstrap; query by committee: H. S. Seung, M. Opper, H.
    Sompolinsky, Proc. COLT 287 (1992)). Ridge and smoothness are chosen once, on all labels.
    Members see forces and stresses and no energies, so that no isolated atom's energy has to be
    known; the forces say all but the zero of the energy. A structure's score is the largest
    spread of an atom's force, sqrt(<|F - <F>|^2>) over the members (eV/angstrom; Y. Zhang et
    al., Comput. Phys. Commun. 253, 107206 (2020)).

    Only structures of `current` that carry forces are fitted to. While they are of fewer than
    `FEWEST_GROUPS` groups, D-optimality chooses instead. Unlike D-optimality the score does not
    know what else is in the batch; only duplicates are dropped.

    Parameters
    ----------
    elements, settings
        Of the linear fit; a ladder is ignored, the whole basis is used.
    members
        Size of the committee.
    workers, cache
        As of `LinearTrainer`: its cache of rows may be shared.
    least_gain
        Of D-optimality, where that has to choose.
    """

    def __init__(
        self,
        elements: Sequence[str],
        settings: TrainerSettings | None = None,
        members: int = MEMBERS,
        workers: int = 1,
        cache: Path | None = None,
        least_gain: float = 0.0,
    ) -> None:
        self._settings = settings or TrainerSettings()
        self._elements = sorted(set(elements))
        basis = ACEBBasisSet(basis_configuration(self._elements, self._settings))
        super().__init__(basis)
        self.members = members
        self._functions = functions_of(basis)
        self._cache = RowCache(workers, cache)
        self._before_labels = MaxVolSelector(basis, least_gain=least_gain)

    def select(
        self,
        pool: Sequence[Atoms],
        current: Sequence[Atoms],
        count: int,
        rng: np.random.Generator,
    ) -> Selection:
        """Choose at most `count`, largest spread first; gamma is against `current`."""
        if count <= 0 or not pool:
            return Selection((), ())
        labelled = [atoms for atoms in current if _has_forces(atoms)]
        if len(set(groups_of(labelled))) < FEWEST_GROUPS:
            return self._before_labels.select(pool, current, count, rng)
        spread = self.spreads(pool, labelled, rng)
        order = sorted(range(len(pool)), key=lambda n: (-spread[n], n))
        return self._first(pool, current, order, count)

    def spreads(
        self, pool: Sequence[Atoms], labelled: Sequence[Atoms], rng: np.random.Generator
    ) -> Array:
        """Return the score of each structure of `pool` (eV/angstrom); see the class."""
        projector, coefficients = self._committee(labelled, rng)
        scores = np.zeros(len(pool))
        for place, atoms in enumerate(pool):
            forces = projector.rows(atoms).forces @ coefficients  # atoms x 3 x members
            deviation = forces - forces.mean(axis=2, keepdims=True)
            of_atom = np.sqrt((deviation**2).sum(axis=1).mean(axis=1))
            scores[place] = of_atom[core_weights(atoms) > 0].max(initial=0.0)
        return scores

    def _committee(
        self, labelled: Sequence[Atoms], rng: np.random.Generator
    ) -> tuple[Projector, Array]:
        """Return what makes rows, and the members' coefficients (functions x members)."""
        projector, rows = self._cache.rows(self._elements, self._settings, labelled)
        targets = targets_of(
            labelled,
            _zero_of_energy(labelled, self._elements),
            baseline_of(self._settings.baseline, self._elements),
            self._settings,
        )
        equations = [
            replace(e, energy=np.zeros_like(e.energy), energy_label=0.0)
            for e in equations_of(labelled, rows, targets, self._elements, self._settings)
        ]
        groups = groups_of(labelled)
        choice = Regression(equations, self._functions, groups).choose(
            self._settings.choose_by, 1.0, self._settings.smoothness, self._settings.ridge
        )
        members = []
        for _ in range(self.members):
            drawn = _drawn(groups, rng)
            part: list[Equations] = [equations[n] for n in drawn]
            member = Regression(part, self._functions, [groups[n] for n in drawn])
            members.append(member.fit(choice).coefficients)
        return projector, np.array(members).T


def _drawn(groups: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Return the structures of as many groups as there are, drawn with replacement."""
    names = sorted(set(groups))
    drawn = [names[k] for k in rng.integers(len(names), size=len(names))]
    return [n for name in drawn for n, group in enumerate(groups) if group == name]


def _has_forces(atoms: Atoms) -> bool:
    results = atoms.calc.results if atoms.calc is not None else {}
    return results.get("forces") is not None and results.get("energy") is not None


def _zero_of_energy(labelled: Sequence[Atoms], elements: Sequence[str]) -> dict[str, float]:
    """Return an energy for each element (eV) that makes the structures' small.

    Which they are does not matter: the softening goes by the distance from the hull, and a
    constant for each element leaves that as it is.
    """
    shares = np.array([shares_of(atoms, elements) for atoms in labelled])
    energies = np.array([a.calc.results["energy"] / len(a) for a in labelled])
    found = np.linalg.lstsq(shares, energies, rcond=None)[0]
    return {element: float(energy) for element, energy in zip(elements, found, strict=True)}
