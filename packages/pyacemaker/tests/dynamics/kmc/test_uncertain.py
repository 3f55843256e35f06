"""A walk with a real potential that has seen no surface: it halts, and goes on when it may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from pyacemaker.dynamics.kmc.base import KMCResult
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.table import StateTable
from pyacemaker.potential import Potential

Slab = Callable[..., Atoms]
Walked = Callable[..., KMCResult]
QUICK = {"events": 1, "confidence": 0.5, "prefactor_THz": 5, "max_barrier_eV": 1.5}


def landscape(potential: Potential, gamma_halt: float | None) -> Landscape:
    return Landscape(potential.calculator(), str(potential.directory), gamma_halt)


def test_an_uncertain_structure_halts_the_walk_and_is_handed_over(
    cu: Potential, slab: Slab, walked: Walked, tmp_path: Path
) -> None:
    start = slab("Cu", (2, 2, 3))
    result = walked(start, tmp_path, landscape(cu, 5.0), **QUICK)
    assert result.status == "halted"
    assert result.message.startswith("gamma ")
    assert "exceeds 5 after 0 hops" in result.message
    gamma = result.frame.get_array("gamma")
    assert gamma.shape == (len(start),)
    assert gamma.max() > 5.0
    # that very structure is uncertain to the potential itself, not only to the walk
    again = result.frame.copy()
    again.calc = cu.calculator()
    again.get_potential_energy()
    assert again.calc.results["gamma"] == pytest.approx(gamma)


def test_a_halt_in_a_search_keeps_what_is_known_and_the_walk_goes_on(
    cu: Potential, slab: Slab, walked: Walked, tmp_path: Path
) -> None:
    start = slab("Cu", (2, 2, 3))
    minimum, _ = landscape(cu, None).relaxed(start, 0.01, 500)
    known = landscape(cu, None)
    known.relaxed(minimum, 0.01, 500)
    # just above what the minimum itself has: the first climb is where it becomes uncertain
    limit = 1.001 * float(known.gamma_max or 0.0)
    halted = walked(minimum, tmp_path, landscape(cu, limit), **QUICK)
    assert halted.status == "halted"
    assert np.abs(halted.frame.positions - minimum.positions).max() > 0.05
    with StateTable(halted.table) as table:
        assert [state.energy_eV for state in table.states()] == [
            pytest.approx(known.calculator.results["energy"], abs=1e-3)
        ]
    # the same table, with the watch off: the state is known, and its searches go on
    once = {**QUICK, "max_searches": 1}
    onward = walked(minimum, tmp_path / "on", landscape(cu, None), table=halted.table, **once)
    assert onward.states[0].energy_eV == halted.states[0].energy_eV
    assert len(onward.searches) == 1 + len(halted.searches)
    assert onward.status != "halted"
