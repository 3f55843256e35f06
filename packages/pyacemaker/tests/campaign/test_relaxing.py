"""From a saddle of the oracle's energy down to the crystal it holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ase import Atoms
from ase.build import bulk

from pyacemaker.campaign.phase_choice import LOWER_EV_PER_ATOM, Phase
from pyacemaker.campaign.relaxing import lower_states, primitive_cell
from pyacemaker.execution.choose import make_executor
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.generator.phases import phase_name
from pyacemaker.oracle.calculator import OracleCalculator
from pyacemaker.oracle.settings import ASESettings, make_oracle
from pyacemaker.provenance import provenance_of
from pyacemaker.validator.relax import relax
from pyacemaker.validator.settings import ValidationSettings

EMT = make_oracle(ASESettings(calculator="ase.calculators.emt.EMT"))


def fallen(phase: Phase, displaced: list[Atoms], folder: Path) -> list[Atoms]:
    """Return the cells that `displaced` fall into, by EMT; what a campaign has beside is bare."""
    with make_executor(ExecutionSettings(), 1, folder) as executor:
        campaign = SimpleNamespace(
            settings=SimpleNamespace(
                validation=ValidationSettings(), selection=SimpleNamespace(max_atoms=4)
            ),
            journal=SimpleNamespace(folder=lambda _: folder, progress=lambda *_: None),
            executor=executor,
        )
        return [c.atoms for c in lower_states(campaign, EMT, phase, displaced)]  # type: ignore[arg-type]


def stretched(atoms: Atoms, ratio: float) -> Atoms:
    """Return the cell with c longer by `ratio` at its volume: bcc's way to fcc (Bain's path)."""
    cell = atoms.copy()
    cell.set_cell(cell.cell.array * [ratio**-0.5, ratio**-0.5, ratio], scale_atoms=True)
    return cell


@pytest.mark.real
def test_a_saddle_falls_to_what_is_stable(tmp_path: Path) -> None:
    calculator = OracleCalculator(EMT, tmp_path)
    saddle = relax(bulk("Cu", "bcc", a=2.9), calculator)
    phase = Phase("bcc Cu", saddle.atoms, False, saddle.energy_eV)
    # too large a cell is not looked at, and two ways to the same crystal give it once
    displaced = [stretched(saddle.atoms, 1.15), stretched(saddle.atoms, 1.2)]
    (found,) = fallen(phase, [*displaced, saddle.atoms * (2, 2, 2)], tmp_path)
    assert len(found) == 1
    assert phase_name(found) == "bcc:Fm-3m Cu"
    assert provenance_of(found)["fallen_from"] == "bcc Cu"
    fcc = relax(bulk("Cu"), calculator)
    assert found.get_volume() == pytest.approx(fcc.atoms.get_volume(), rel=0.01)
    assert fcc.energy_eV < saddle.energy_eV - LOWER_EV_PER_ATOM


@pytest.mark.real
def test_what_is_stable_falls_nowhere(tmp_path: Path) -> None:
    fcc = relax(bulk("Cu"), OracleCalculator(EMT, tmp_path))
    phase = Phase("fcc Cu", fcc.atoms, True, fcc.energy_eV)
    assert fallen(phase, [stretched(fcc.atoms, 1.05)], tmp_path) == []


def test_the_primitive_cell_forgets_small_displacements() -> None:
    cubic = bulk("Cu", cubic=True)
    cubic.rattle(0.002, seed=1)
    cell, symbol = primitive_cell(cubic)
    assert (len(cell), symbol) == (1, "Fm-3m")
