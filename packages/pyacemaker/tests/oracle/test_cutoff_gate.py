from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.cutoff_gate import converge_cutoff
from pyacemaker.oracle.espresso.oracle import EspressoOracle


@dataclass
class Basis:
    """A solid whose pressure error falls exponentially with the cutoff (Ry)."""

    cutoff: float
    modulus_GPa: float = 100.0
    pressure_error_GPa: float = 300.0
    energy_error_eV: float = 0.0
    problem: dict[str, Any] = field(default_factory=dict)
    below: float = 0.0
    name: str = "basis"
    calls: list[float] = field(default_factory=list)

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        return {"cutoff": self.cutoff}

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        self.calls.append(self.cutoff)
        if self.cutoff < self.below:
            raise OracleError("no", self.problem)
        volume = atoms.get_volume() / len(atoms)
        fading = exp(-self.cutoff / 8)
        pressure = -self.modulus_GPa * log(volume / 20) + self.pressure_error_GPa * fading
        energy = -100 * fading + self.energy_error_eV * fading * volume
        stress = [-pressure * GPa] * 3 + [0.0] * 3
        found = atoms.copy()
        found.calc = SinglePointCalculator(found, energy=energy * len(atoms), stress=stress)
        return Label(found, {})


CELLS = [bulk("Si", "fcc", a=a) for a in (4.3, 4.15)]


def test_raised_until_pressure_no_longer_moves(tmp_path: Path) -> None:
    report = converge_cutoff(Basis, 20, CELLS, tmp_path)
    assert report.passed
    last = report.rows[-1]
    assert last.ecutwfc_Ry == report.ecutwfc_Ry
    error = 300 * (exp(-last.ecutwfc_Ry / 8) - exp(-last.against_Ry / 8))
    assert last.pressure_error_GPa == pytest.approx(error)
    assert error <= last.allowed_GPa == pytest.approx(0.3)  # 0.003 of 100 GPa
    assert all(not row.converged for row in report.rows[:-1])
    assert report.rows[0].pressure_error_GPa > 10  # type: ignore[operator]
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()
    assert report.as_dict()["rows"][-1]["converged"] is True


@pytest.mark.parametrize(("modulus", "allowed"), [(5, 0.05), (50, 0.15), (400, 0.5)])
def test_soft_solids_need_smaller_pressures(tmp_path: Path, modulus: float, allowed: float) -> None:
    report = converge_cutoff(lambda c: Basis(c, modulus), 80, CELLS, tmp_path)
    assert report.rows[0].allowed_GPa == pytest.approx(allowed)


def test_one_structure_has_pressures_only(tmp_path: Path) -> None:
    report = converge_cutoff(Basis, 80, CELLS[:1], tmp_path)
    assert report.passed
    assert report.rows[0].allowed_GPa == 0.5
    assert report.rows[0].energy_error_meV_per_atom == 0


def test_energies_between_structures_count_their_common_shift_does_not(tmp_path: Path) -> None:
    flat = converge_cutoff(lambda c: Basis(c, pressure_error_GPa=0), 20, CELLS, tmp_path)
    assert flat.rows[0].converged  # though energies move by 5 eV/atom
    tilted = converge_cutoff(
        lambda c: Basis(c, pressure_error_GPa=0, energy_error_eV=1), 20, CELLS, tmp_path
    )
    assert tilted.passed
    assert len(tilted.rows) > 1
    assert tilted.rows[0].energy_error_meV_per_atom > 2  # type: ignore[operator]


def test_it_ends_at_the_highest_cutoff(tmp_path: Path) -> None:
    report = converge_cutoff(
        lambda c: Basis(c, pressure_error_GPa=1e6), 20, CELLS, tmp_path, max_Ry=40
    )
    assert not report.passed
    assert report.ecutwfc_Ry <= 40
    assert report.rows[-1].against_Ry == report.ecutwfc_Ry


def test_a_failed_scf_is_a_reason_to_go_up_but_a_missing_program_is_not(tmp_path: Path) -> None:
    tried = {"attempts": [{"family": "scf"}]}
    report = converge_cutoff(lambda c: Basis(c, problem=tried, below=30), 20, CELLS, tmp_path)
    assert report.passed
    assert report.rows[0].problem == "no"
    assert not report.rows[0].converged
    for meta in (
        {},
        {"attempts": [{"family": "time"}]},
        {"attempts": [{"class": "program_missing", "family": "program"}]},
    ):
        with pytest.raises(OracleError):
            converge_cutoff(
                lambda c, meta=meta: Basis(c, problem=meta, below=99),  # type: ignore[misc]
                20,
                CELLS,
                tmp_path,
            )


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one structure"):
        converge_cutoff(Basis, 20, [], tmp_path)
    with pytest.raises(ValueError, match="above 1"):
        converge_cutoff(Basis, 20, CELLS, tmp_path, step=1.0)


@pytest.mark.real
def test_silicon_at_a_low_cutoff_is_raised(
    tmp_path: Path, coarse: Callable[..., EspressoOracle]
) -> None:
    """At 8 Ry the SCF converges as well as anywhere, and the pressure is wrong."""
    cells = [bulk("Si", a=5.43), bulk("Si", a=5.43 * 0.96)]
    report = converge_cutoff(lambda c: coarse(ecutwfc_Ry=c), 8, cells, tmp_path, step=1.5)
    assert report.passed
    assert report.ecutwfc_Ry > 10
    first, last = report.rows[0], report.rows[-1]
    assert first.pressure_error_GPa > 2  # type: ignore[operator]
    assert last.pressure_error_GPa <= last.allowed_GPa <= 0.5  # type: ignore[operator]
    assert last.allowed_GPa > 0.2  # of a bulk modulus near 90 GPa

    # A gate that is run again reads everything back: this oracle could start nothing.
    again = converge_cutoff(
        lambda c: coarse(ecutwfc_Ry=c, command=("/nonexistent/pw.x",)),
        8,
        cells,
        tmp_path,
        step=1.5,
    )
    assert again == report
