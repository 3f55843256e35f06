"""The one interface of every gate a potential has to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ase import Atoms
from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class CheckResult:
    """Go or no-go, with the numbers it rests on.

    `reason` is one line a scientist understands, with figures and units, for a pass as
    for a fail. `numbers` holds scalars whose keys end in their unit (`B0_GPa`,
    `lowest_frequency_THz`); `series` holds what a plot needs (lists of floats).
    `failure_structures` are structures of the failed property that are worth labelling
    (strained cells, displaced supercells), each tagged with its provenance; empty on a pass.
    """

    name: str
    passed: bool
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)
    failure_structures: tuple[Atoms, ...] = ()


class Check(Protocol):
    """One gate. It never raises for a bad potential: that is a failed result."""

    @property
    def name(self) -> str:
        """Short name: ``consistency``, ``short_range``, ``eos``, ``test_error`` ..."""

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check `calculator` on `structure`, the material's reference cell.

        `structure` is relaxed by the check itself with `calculator`. `test` are held-out
        labelled structures (each with its own calculator), used by the test-error gate.
        """
