"""A campaign that walks by kinetic Monte Carlo: it halts, learns, and asks for the barriers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pyacemaker.campaign.entries import entries
from pyacemaker.campaign.state import CampaignState
from pyacemaker.dynamics.kmc.table import StateTable
from pyacemaker.labels import LabelStore
from pyacemaker.provenance import provenance_of
from pyacemaker.structures import read_structures

from .conftest import ENVIRONMENT, PROGRAM

pytestmark = pytest.mark.real

# gamma is watched loosely and barriers strictly: the walk completes soon, over a wrong barrier.
# MD of the crystal is not to halt.
CONFIG = """\
elements: [Cu]
seed: 3
workers: 2
temperatures_K: [300]
oracle: {code: ase, calculator: ase.calculators.emt.EMT}
trainer: {functions_per_element: 60, cutoff_A: 5.0, max_body_order: 4, ridge: 1e-10, smoothness: 1}
dynamics:
  explorers: [md, kmc]
  explore: goal
  md_ps: 0.05
  atoms: 8
  gamma_from: settings
  gamma_halt: 200
kmc:
  structure: adatom.traj
  events: 1
  confidence: 0.5
  max_searches: 12
  prefactor_THz: 5
  max_barrier_eV: 0.6
  gamma_halt: 20
  barriers_checked: 1
  barrier_error_eV: 0.001
validation:
  gates: [consistency, test_error]
  test_force_rmse_eV_per_A: 0.5
  test_energy_rmse_eV_per_atom: 0.05
budget:
  {initial_labels: 20, labels_per_iteration: 8, labels: 90, max_atoms: 4, max_iterations: 4,
   least_gain: 0}
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a campaign that was given four cycles."""
    folder = tmp_path_factory.mktemp("kmc")
    slab = fcc100("Cu", (2, 2, 3), vacuum=5, periodic=True)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=[atom.tag == 3 for atom in slab]))
    slab.write(folder / "adatom.traj")
    (folder / "cu.yaml").write_text(CONFIG)
    workdir = folder / "cu"
    done = subprocess.run(
        [*PROGRAM, "run", str(folder / "cu.yaml"), "--workdir", str(workdir), "--json"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=600,
        check=False,
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["ending"] == "budget", last
    return workdir


def steps(workdir: Path, name: str) -> dict[int, dict[str, Any]]:
    state = CampaignState(workdir, read_only=True)
    try:
        return {record.iteration: record.result for record in state.steps(name)}
    finally:
        state.close()


def walk_of(workdir: Path, iteration: int) -> dict[str, Any]:
    """Return the one walk among the runs of an iteration."""
    (run,) = [run for run in steps(workdir, "md")[iteration]["runs"] if run.get("kind") == "kmc"]
    return run


def test_md_and_kmc_explore_alike(walked: Path) -> None:
    compared = steps(walked, "barriers")
    for iteration, result in steps(walked, "md").items():
        md, walk = result["runs"]
        assert (md.get("kind", "md"), walk["kind"]) == ("md", "kmc")
        for run in (md, walk):
            assert run["status"] in ("completed", "halted")
            assert len(read_structures(walked / run["frame"]["file"])) == 1
        # the cycle goes on only where both have completed
        both = {md["status"], walk["status"]} == {"completed"}
        assert both is (iteration in compared)


def test_an_uncertain_structure_halts_the_walk_and_is_learnt_from(walked: Path) -> None:
    first = walk_of(walked, 1)
    assert (first["kind"], first["status"]) == ("kmc", "halted")
    (frame,) = read_structures(walked / first["frame"]["file"], first["frame"]["sha256"])
    assert frame.get_array("gamma").max() > first["gamma_halt"] == 20
    assert steps(walked, "explore")[2]["source"] == "halts"
    learnt = read_structures(walked / "iter_002" / "selected.json")
    assert {provenance_of(atoms)["generator"] for atoms in learnt} == {"local"}
    assert {len(atoms) for atoms in learnt} == {len(frame)}
    # the walk goes on from its table, with another potential
    later = [walk_of(walked, n) for n in sorted(steps(walked, "md"))[1:]]
    assert any(run["searches"] for run in later)


def test_the_oracle_judges_the_barriers_of_a_walk_that_completed(walked: Path) -> None:
    compared = steps(walked, "barriers")
    assert compared
    number, result = min(compared.items())
    (check,) = json.loads((walked / result["series"]["file"]).read_text())
    (row,) = check["series"]["processes"]
    assert row["error_eV"] == pytest.approx(row["barrier_eV"] - row["oracle_barrier_eV"])
    assert check["passed"] is (abs(row["error_eV"]) <= 0.001)
    # the oracle's barrier is EMT's own at these structures, computed here anew
    run = walk_of(walked, number)
    with StateTable(walked / run["table"]["file"]) as table:
        state = table.states()[row["state"]]
    (way,) = [one for one in state.mechanisms if one.number == row["mechanism"]]
    energies = []
    for moved in (0.0, way.saddle):
        atoms = state.atoms.copy()
        atoms.positions += moved
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    assert row["oracle_barrier_eV"] == pytest.approx(energies[1] - energies[0], abs=1e-9)
    assert row["barrier_eV"] == pytest.approx(way.barrier_eV)
    assert 0.1 < row["oracle_barrier_eV"] < 0.9


def test_a_wrong_barrier_is_learnt_from(walked: Path) -> None:
    compared = steps(walked, "barriers")
    wrong = [n for n, r in compared.items() if not r["passed"] and n + 1 in steps(walked, "label")]
    assert wrong
    explored = steps(walked, "explore")[wrong[0] + 1]
    assert explored["source"] == "wrong barriers"
    required = read_structures(walked / explored["required"]["file"])
    assert [provenance_of(atoms)["place"] for atoms in required] == ["way"] * 3
    state = CampaignState(walked, read_only=True)
    made = [entry for entry in entries(state) if entry.step == "barriers"]
    state.close()
    assert made
    assert {entry.role for entry in made} == {"train"}
    places = [
        provenance_of(label.atoms)["place"]
        for entry in made
        if (label := LabelStore(walked / "labels").get(entry.key)) is not None
    ]
    assert places[:2] == ["minimum", "saddle"]


def test_the_barrier_moves_to_the_oracles(walked: Path) -> None:
    errors = []
    for _, result in sorted(steps(walked, "barriers").items()):
        (check,) = json.loads((walked / result["series"]["file"]).read_text())
        errors.append(abs(check["series"]["processes"][0]["error_eV"]))
    assert len(errors) >= 2
    assert errors[-1] < max(0.03, errors[0] / 2)


def test_the_report_sets_barriers_beside_the_oracles(walked: Path) -> None:
    page = (walked / "report.html").read_text()
    assert 'id="kmc"' in page
    assert "Barriers of walks that completed" in page
    assert "Barriers by the potential and by the oracle" in page
    assert "wrong barriers" in page or "barriers: NO-GO" in page
