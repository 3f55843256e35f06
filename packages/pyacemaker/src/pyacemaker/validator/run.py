"""All gates of a potential, one after the other, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ase import Atoms
from ase.calculators.calculator import Calculator

from pyacemaker.validator.base import Check, CheckResult
from pyacemaker.validator.consistency import ConsistencyCheck
from pyacemaker.validator.elastic import ElasticCheck
from pyacemaker.validator.eos import EosCheck
from pyacemaker.validator.evaluation import crystal_of, one_line
from pyacemaker.validator.phonons import PhononCheck
from pyacemaker.validator.result import failed
from pyacemaker.validator.settings import ValidationSettings
from pyacemaker.validator.short_range import ShortRangeCheck
from pyacemaker.validator.test_error import TestErrorCheck

_CHECKS: Mapping[str, Callable[[ValidationSettings], Check]] = {
    "consistency": ConsistencyCheck,
    "short_range": ShortRangeCheck,
    "eos": EosCheck,
    "elastic": ElasticCheck,
    "phonons": PhononCheck,
    "test_error": TestErrorCheck,
}


def make_checks(settings: ValidationSettings | None = None) -> tuple[Check, ...]:
    """Return the gates that `settings` name, in their order."""
    settings = settings or ValidationSettings()
    return tuple(_CHECKS[gate](settings) for gate in settings.gates)


def validate(
    checks: Sequence[Check],
    calculator: Calculator,
    structure: Atoms,
    test: Sequence[Atoms],
) -> list[CheckResult]:
    """Run every gate, also after one has failed, and return their results in order.

    `structure` is the material's crystal, relaxed by each gate with `calculator`; `test`
    are held-out labelled structures. Whatever a gate raises on a potential is a failed
    result. Raises ValueError only for a `structure` that is no crystal, or for no gates.
    """
    if not checks:
        raise ValueError("no gates to validate with: a potential that nothing tests has no verdict")
    crystal = crystal_of(structure)
    results = []
    for check in checks:
        try:
            results.append(check.run(calculator, crystal, test))
        except Exception as error:  # a bad potential may break anything; it is its result
            results.append(failed(check.name, f"the check broke down: {one_line(error)}"))
    return results


def is_go(results: Sequence[CheckResult]) -> bool:
    """Return whether all gates passed; without any, no."""
    return bool(results) and all(result.passed for result in results)
