"""All gates of a potential, one after the other, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.validator.base import Check, CheckResult
from pyacemaker.validator.consistency import ConsistencyCheck
from pyacemaker.validator.elastic import ElasticCheck
from pyacemaker.validator.eos import EosCheck
from pyacemaker.validator.evaluation import crystal_of, one_line
from pyacemaker.validator.motion import MDStabilityCheck
from pyacemaker.validator.phonons import PhononCheck
from pyacemaker.validator.result import failed
from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.short_range import ShortRangeCheck
from pyacemaker.validator.surface import SurfaceCheck
from pyacemaker.validator.test_error import TestErrorCheck
from pyacemaker.validator.thermal import ThermalExpansionCheck
from pyacemaker.validator.vacancy import VacancyCheck

_CHECKS: Mapping[str, Callable[[ValidationSettings], Check]] = {
    "consistency": ConsistencyCheck,
    "short_range": ShortRangeCheck,
    "eos": EosCheck,
    "elastic": ElasticCheck,
    "phonons": PhononCheck,
    "vacancy": VacancyCheck,
    "surface": SurfaceCheck,
    "thermal_expansion": ThermalExpansionCheck,
    "md_stability": MDStabilityCheck,
    "test_error": TestErrorCheck,
}


def make_checks(settings: ValidationSettings | None = None) -> tuple[Check, ...]:
    """Return the gates that `settings` name, in their order."""
    settings = settings or ValidationSettings()
    return tuple(_CHECKS[gate](settings) for gate in settings.gates)


def run_checks(
    checks: Sequence[Check],
    calculator: Calculator,
    structure: Atoms,
    test: Sequence[Atoms],
    say: Callable[[CheckResult], None] | None = None,
) -> list[CheckResult]:
    """Run every gate, also after one has failed, and return their results in order.

    `structure` is the material's crystal, relaxed by each gate with `calculator`; `test`
    are held-out labelled structures; `say` is told each result as soon as it is there.
    Whatever a gate raises on a potential is a failed result. Raises ValueError only for a
    `structure` that is no crystal, or for no gates.
    """
    if not checks:
        raise ValueError("no gates to validate with: a potential that nothing tests has no verdict")
    crystal = crystal_of(structure)
    results = []
    for check in checks:
        try:
            result = check.run(calculator, crystal, test)
        except Exception as error:  # a bad potential may break anything; it is its result
            result = failed(check.name, f"the check broke down: {one_line(error)}")
        results.append(result)
        if say is not None:
            say(result)
    return results


@dataclass(frozen=True)
class Verdict:
    """What all gates said of a potential."""

    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate is a go (without any, no)."""
        return bool(self.results) and all(result.passed for result in self.results)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The gates that are a no-go."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def reasons(self) -> dict[str, str]:
        """The reason of every gate that is a no-go, by its name."""
        return {result.name: result.reason for result in self.failed}

    @property
    def numbers(self) -> dict[str, dict[str, float]]:
        """The numbers of every gate, by its name; keys end in their unit."""
        return {result.name: dict(result.numbers) for result in self.results}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: `passed`, and the results without the structures to label."""
        keys = ("name", "passed", "reason", "numbers", "series")
        return {
            "passed": self.passed,
            "gates": [{key: getattr(result, key) for key in keys} for result in self.results],
        }


def validate(
    calculator: Calculator,
    structure: Atoms,
    test: Sequence[Atoms] = (),
    settings: ValidationSettings | None = None,
    say: Callable[[CheckResult], None] | None = None,
) -> Verdict:
    """Put a potential through the gates.

    Parameters
    ----------
    calculator
        Any ASE calculator with energy (eV), forces (eV/angstrom) and stress (eV/angstrom^3).
    structure
        The material's crystal: a periodic unit cell. Every gate relaxes it.
    test
        Held-out structures that carry their labels. Without any, the gate `test_error` is
        left out unless `settings` name their gates.
    settings
        Gates and thresholds; see docs/validation.md.
    say
        Is told each result as soon as it is there.

    Raises
    ------
    ValueError
        Only where `structure` is no crystal. A bad potential is a verdict.
    """
    if settings is None:
        settings = ValidationSettings()
    if not test and "gates" not in settings.model_fields_set:
        gates = tuple(gate for gate in settings.gates if gate != "test_error")
        settings = settings.model_copy(update={"gates": gates})
    return Verdict(tuple(run_checks(make_checks(settings), calculator, structure, test, say)))
