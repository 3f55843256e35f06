"""A model, asked for one structure or for many."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
    all_properties,
)

Results = dict[str, Any]
STANDARD = ("energy", "free_energy", "forces", "stress")


class Failure(Exception):  # noqa: N818 - it carries an error, and is stored, not only raised
    """A structure that the model raised an exception for, told so that it can be sent."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.told = {
            "kind": type(error).__name__,
            "message": str(error).strip() or type(error).__name__,
            "not_implemented": isinstance(error, NotImplementedError),
            "traceback": "".join(traceback.format_exception(error)),
        }


class Model:
    """What `setup` returned, behind one interface.

    An ASE calculator is asked by its `calculate`, which spares ASE's own comparison and copy of
    the structure, as the caller knows what has changed; one with a `get_property` of its own is
    asked by that. An object with a method

        calculate_many(structures: list[Atoms], properties: list[str]) -> list[dict]

    gets several structures together.
    """

    def __init__(self, calculator: Any) -> None:
        self.calculator = calculator
        self.can_batch = callable(getattr(calculator, "calculate_many", None))
        named = getattr(calculator, "implemented_properties", None) or STANDARD
        self.implemented = [name for name in all_properties if name in named]
        self._plain = (
            isinstance(calculator, Calculator)
            and type(calculator).get_property is BaseCalculator.get_property
        )
        self._single = hasattr(calculator, "get_property")
        self._no_stress: set[tuple[bool, ...]] = set()
        self._last_wanted: list[str] | None = None
        self._last_extra: list[str] = []

    def evaluate(
        self, atoms: Atoms, extra: Sequence[str] = (), changes: Sequence[str] = tuple(all_changes)
    ) -> Results:
        """Return energy, forces, stress where the cell has three vectors, and `extra`.

        What else the model has computed is returned too. `changes` tells what is new since the
        last call (ASE's names). Raises whatever the model raises.
        """
        if not self._single:
            outcome = self.evaluate_many([atoms], extra)[0]
            if isinstance(outcome, Failure):
                raise outcome.__cause__ or outcome
            return outcome
        if "cell" in changes or self._last_wanted is None or extra != self._last_extra:
            self._last_wanted = self._wanted(atoms, extra)
            self._last_extra = list(extra)
        wanted = self._last_wanted
        try:
            return self._ask(atoms, list(wanted), changes)
        except PropertyNotImplementedError:
            if "stress" not in wanted or "stress" in extra:
                raise
            # e.g. models that know the stress of fully periodic structures only
            results = self._ask(atoms, [n for n in wanted if n != "stress"], list(all_changes))
            self._no_stress.add(tuple(atoms.pbc))
            self._last_wanted = None
            return results

    def evaluate_many(
        self, structures: Sequence[Atoms], extra: Sequence[str] = ()
    ) -> list[Results | Failure]:
        """Return results, or a Failure, for each structure, in their order.

        A batch that raises is halved until the structures at fault are alone, so that one bad
        structure, or memory that is too small for all of them, does not cost the others.
        """
        if not self.can_batch:
            return [self._try(atoms, extra) for atoms in structures]
        properties = [n for n in STANDARD if n in self.implemented]
        properties += [n for n in extra if n not in properties]
        try:
            answers = list(self.calculator.calculate_many(list(structures), properties))
            if len(answers) != len(structures):
                raise RuntimeError(
                    f"calculate_many returned {len(answers)} results for "
                    f"{len(structures)} structures"
                )
            return [
                _checked(answer, atoms) for answer, atoms in zip(answers, structures, strict=True)
            ]
        except Exception as error:  # any model may raise anything
            if len(structures) == 1:
                failure = Failure(error)
                failure.__cause__ = error
                return [failure]
            half = len(structures) // 2
            return self.evaluate_many(structures[:half], extra) + self.evaluate_many(
                structures[half:], extra
            )

    def _try(self, atoms: Atoms, extra: Sequence[str]) -> Results | Failure:
        try:
            return self.evaluate(atoms, extra)
        except Exception as error:
            return Failure(error)

    def _wanted(self, atoms: Atoms, extra: Sequence[str]) -> list[str]:
        wanted = ["energy", "forces"]
        if (
            "stress" in self.implemented
            and has_volume(atoms)
            and (tuple(atoms.pbc) not in self._no_stress)
        ):
            wanted.append("stress")
        return wanted + [name for name in extra if name not in wanted]

    def _ask(self, atoms: Atoms, wanted: list[str], changes: Sequence[str]) -> Results:
        calculator = self.calculator
        if self._plain:
            if changes:
                calculator.atoms = None
                calculator.results = {}
            calculator.calculate(atoms, wanted, list(changes))
            results = calculator.results
            missing = [name for name in wanted if name not in results]
            for name in missing:  # one that computes only the first of what it is asked for
                calculator.calculate(atoms, [name], [])
                results = calculator.results
        else:
            results = {name: calculator.get_property(name, atoms) for name in wanted}
            results.update(
                (k, v)
                for k, v in (getattr(calculator, "results", None) or {}).items()
                if k not in results
            )
        return _checked(results, atoms)


def has_volume(atoms: Atoms) -> bool:
    """Say whether the cell has three independent vectors."""
    (a, b, c), (d, e, f), (g, h, i) = atoms.cell.array.tolist()
    volume: float = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return abs(volume) > 1e-12


def _checked(results: Any, atoms: Atoms) -> Results:
    """Return the standard results. Raises RuntimeError where energy or forces are wrong."""
    if "energy" not in results or "forces" not in results:
        raise RuntimeError(f"the model gave only {', '.join(sorted(results)) or 'nothing'}")
    if getattr(results["forces"], "shape", None) != (len(atoms.arrays["numbers"]), 3):
        raise RuntimeError(
            f"the model gave forces of shape {np.shape(results['forces'])} for {len(atoms)} atoms"
        )
    return {name: results[name] for name in all_properties if name in results}
