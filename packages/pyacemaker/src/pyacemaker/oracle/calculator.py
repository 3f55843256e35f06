"""An oracle as an ASE calculator: what relaxes a crystal, or a gate, can ask it directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from pyacemaker.oracle.base import Oracle


class OracleCalculator(Calculator):  # type: ignore[misc]  # ASE is untyped
    """Energy (eV), forces (eV/angstrom) and stress (eV/angstrom^3) by `oracle`.

    For oracles that answer in milliseconds: nothing is kept. `workdir` is given to the oracle.
    Raises OracleError where it fails.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(self, oracle: Oracle, workdir: Path) -> None:
        super().__init__()
        self._oracle = oracle
        self._workdir = workdir

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Ask the oracle."""
        super().calculate(atoms, properties, system_changes)
        label = self._oracle.label(self.atoms, self._workdir)
        self.results = dict(label.atoms.calc.results)
