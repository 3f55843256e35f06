"""The adapter to EON, on what EON's own code wrote, and on programs that stand for its two."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import write
from ase.io.eon import read_eon
from typer.testing import CliRunner

from pyacemaker.cli.app import app
from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.base import KMCRequest
from pyacemaker.dynamics.kmc.choose import make_kmc
from pyacemaker.dynamics.kmc.eon.engine import EONKMC
from pyacemaker.dynamics.kmc.eon.forces import ForceServer
from pyacemaker.dynamics.kmc.eon.inputs import config_text, order_of, positions_text
from pyacemaker.dynamics.kmc.eon.installation import find_eon
from pyacemaker.dynamics.kmc.eon.results import current_of, hops_of, searches_of, states_of
from pyacemaker.dynamics.kmc.landscape import Landscape
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.dynamics.kmc.table import StateTable, TableError
from pyacemaker.potential import Potential

RECORDED = Path(__file__).parent / "recorded"
SETTINGS = KMCSettings(temperature_K=300, events=1, engine="eon", prefactor_THz=5)


def quiet(done: int, total: int, told: str) -> None:
    """Listen to nothing."""


@pytest.fixture
def start() -> Atoms:
    """The structure the recorded walk began with: EON has its last atom first."""
    slab = fcc100("Cu", (2, 2, 3), vacuum=5, periodic=True)
    add_adsorbate(slab, "Al", 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=[atom.tag == 3 for atom in slab]))
    slab.info = {}
    return slab


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str], EONKMC]:
    """Return the engine with a program of that text in the place of eon-server."""

    def make(server: str) -> EONKMC:
        folder = tmp_path / "eon programs"
        program(folder / "eon-server", server)
        program(folder / "eonclient", "exit 1\n")
        return EONKMC(find_eon(str(folder)))

    return make


def test_without_eon_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DynamicsError, match=r"eonclient not found on the PATH.*build-eon.*conda"):
        make_kmc(SETTINGS)
    with pytest.raises(DynamicsError, match=r"kmc\.engine: builtin"):
        make_kmc(SETTINGS.model_copy(update={"eon": str(tmp_path)}))


def test_the_command_line_tells_it_too(
    start: Atoms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "slab.traj", start)
    words = ["kmc", str(tmp_path / "slab.traj"), "--calculator", "ase.calculators.emt.EMT"]
    words += ["--workdir", str(tmp_path / "walk"), "--engine", "eon", "--eon", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert f"eon-server and eonclient not found in {tmp_path}" in done.output
    assert "pyacemaker build-eon" in done.output
    assert CliRunner().invoke(app, [*words, "--engine", "eno"]).exit_code == 2


def test_config_says_what_the_settings_say() -> None:
    parser = configparser.ConfigParser()
    client, forces = "/a/eonclient", Path("/a b/ext_pot")
    text = config_text(SETTINGS, 2**40 + 3, client, forces, free_atoms=9, steps=4, confidence=0.7)
    parser.read_string(text)
    assert parser["Main"]["job"] == "akmc"
    assert parser.getfloat("Main", "temperature") == 300
    assert 0 <= parser.getint("Main", "random_seed") < 2**31
    assert parser.getint("AKMC", "max_kmc_steps") == 4
    assert parser.getfloat("AKMC", "confidence") == 0.7
    assert parser["Potential"]["ext_pot_path"] == "/a b/ext_pot"
    assert parser.getfloat("Prefactor", "default_value") == 5e12
    assert parser.getfloat("Saddle Search", "max_energy") > SETTINGS.max_barrier_eV


def test_positions_are_grouped_by_element_and_keep_what_is_held(
    start: Atoms, tmp_path: Path
) -> None:
    path = tmp_path / "pos.con"
    path.write_text(positions_text(start))
    with path.open() as stream:
        read = read_eon(stream)
    order = order_of(start)
    assert read.get_chemical_symbols() == ["Al"] + ["Cu"] * 12
    assert np.allclose(read.positions, start.positions[order])
    held = set(start.constraints[0].index)
    assert {order[i] for i in read.constraints[0].index} == held
    turned = start.copy()
    turned.rotate(30, "z", rotate_cell=True)
    with pytest.raises(DynamicsError, match="first along x"):
        positions_text(turned)


def test_recorded_states_have_the_energies_of_the_oracle(start: Atoms) -> None:
    states = states_of(RECORDED, start, order_of(start), "emt")
    assert [state.number for state in states] == [0, 1]
    first = states[0]
    assert [one.found for one in first.mechanisms] == [5, 4]
    for one in first.mechanisms:
        energies = []
        for moved in (0.0, one.saddle, one.product):
            atoms = first.atoms.copy()
            atoms.positions += moved
            atoms.calc = EMT()
            energies.append(atoms.get_potential_energy())
        assert energies[0] == pytest.approx(first.energy_eV, abs=1e-6)
        assert energies[1] - energies[0] == pytest.approx(one.barrier_eV, abs=1e-4)
        assert energies[1] - energies[2] == pytest.approx(one.reverse_barrier_eV, abs=1e-4)
        assert one.prefactor_THz == 5
        # it is the adatom that moves: the last atom, which EON has first
        assert np.linalg.norm(one.product, axis=1).argmax() == len(start) - 1
        assert np.abs(one.mode).max(axis=1).argmax() == len(start) - 1


def test_recorded_searches_and_hops(start: Atoms) -> None:
    searches = searches_of(RECORDED / "states" / "0")
    assert [one.outcome for one in searches[:3]] == ["new", "again", "new"]
    assert searches[-1].outcome == "Saddle Search No Convex Region"
    assert searches[0].force_calls == 180
    order = order_of(start)
    states = states_of(RECORDED, start, order, "emt")
    (hop,) = hops_of(RECORDED, states, "emt")
    assert (hop.state, hop.mechanism, hop.copy) == (0, 0, 0)
    assert hop.rate_per_s == pytest.approx(5e12 * np.exp(-0.22746 / (300 / 11604.5)), rel=1e-3)
    assert hop.total_rate_per_s == pytest.approx(2 * hop.rate_per_s)
    assert hop.time_s == hop.waited_s == 8.441481e-10
    moved = current_of(RECORDED, start, order).positions - states[0].atoms.positions
    # half a cell: both directions are one
    assert np.abs(moved) == pytest.approx(np.abs(states[0].mechanisms[0].product), abs=1e-6)


@pytest.mark.parametrize("name", ["dynamics.txt", "states/0/processtable", "states/0/info"])
def test_a_damaged_file_is_refused_by_name(name: str, start: Atoms, tmp_path: Path) -> None:
    folder = tmp_path / "eon"
    shutil.copytree(RECORDED, folder)
    path = folder / name
    path.write_text(path.read_text()[:-30] + "\n7 cut\n")
    with pytest.raises(DynamicsError, match=path.name):
        states = states_of(folder, start, order_of(start), "emt")
        hops_of(folder, states, "emt")


def ask(server: ForceServer, atoms: Atoms, folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask for an evaluation as EON's client does."""
    order = order_of(atoms)
    rows = [" ".join(f"{x:.19f}" for x in row) for row in np.asarray(atoms.cell)]
    rows += [
        f"{atoms.numbers[i]}\t" + "\t".join(f"{x:.19f}" for x in atoms.positions[i]) for i in order
    ]
    folder.mkdir(exist_ok=True)
    (folder / "from_eon_to_extpot").write_text("\n".join(rows) + "\n")
    (folder / "from_extpot_to_eon").unlink(missing_ok=True)
    return subprocess.run(
        [str(server.program)], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )


def test_eon_is_given_energies_and_forces_of_the_landscape(start: Atoms, tmp_path: Path) -> None:
    atoms = start.copy()
    atoms.rattle(0.1, seed=2)
    landscape = Landscape(EMT(), "emt")
    with ForceServer(start, order_of(start), landscape) as server:
        done = ask(server, atoms, tmp_path / "x y")
        assert done.returncode == 0, done.stderr
    found = np.loadtxt(tmp_path / "x y" / "from_extpot_to_eon", skiprows=1)
    energy = float((tmp_path / "x y" / "from_extpot_to_eon").read_text().split()[0])
    atoms.set_constraint()
    atoms.calc = EMT()
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert found == pytest.approx(atoms.get_forces()[order_of(start)], abs=1e-9)
    assert landscape.force_calls == 1
    assert not server.program.exists()


def test_gamma_is_watched_while_eon_searches(cu: Potential, tmp_path: Path) -> None:
    crystal = bulk("Cu", "fcc", 3.6, cubic=True) * (2, 2, 2)
    strange = crystal.copy()
    strange.positions[5] += 1.2
    landscape = Landscape(cu.calculator(), "cu", 5.0)
    with ForceServer(crystal, order_of(crystal), landscape) as server:
        assert ask(server, crystal, tmp_path / "a").returncode == 0
        assert server.halt is None
        refused = ask(server, strange, tmp_path / "a")
        assert refused.returncode != 0
        assert "the walk has stopped" in refused.stderr
        assert not (tmp_path / "a" / "from_extpot_to_eon").exists()
    assert server.halt is not None
    assert server.halt.gamma > 5
    assert server.halt.frame.get_array("gamma").max() == server.halt.gamma
    assert np.allclose(server.halt.frame.positions, strange.positions)


def test_results_are_counted_and_kept_in_our_table(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    engine = installed(f"test -f config.ini && cp -r {RECORDED}/* .\n")
    request = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=1)
    result = engine.run(request, tmp_path / "walk", quiet)
    assert (result.status, result.engine) == ("completed", "eon")
    assert len(result.hops) == 1
    assert len(result.states[0].mechanisms) == 2
    assert result.time_s == result.hops[-1].time_s
    with StateTable(result.table) as table:
        assert [s.potential for s in table.states()] == ["emt", "emt"]
        assert table.hops() == list(result.hops)


def test_an_exit_of_zero_without_results_is_no_success(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    engine = installed("echo Client ended; exit 0\n")
    request = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=1)
    with pytest.raises(DynamicsError, match=r"0 processes from 0 searches.*Client ended"):
        engine.run(request, tmp_path / "walk", quiet)
    fewer = installed(f"cp -r {RECORDED}/* .\n")
    more = SETTINGS.model_copy(update={"events": 3})
    request = KMCRequest(start, Landscape(EMT(), "emt"), more, seed=1)
    result = fewer.run(request, tmp_path / "more", quiet)
    assert result.status == "failed"
    assert "after 1 of 3 hops: 3 processes from 11 searches" in result.message


SEARCHED = """\
mkdir -p states/0
printf 'head\\nline\\n' > states/0/search_results.txt
for i in 0 1 2 3; do
    echo "$i random 0.2 0.5 10 20 0    repeat-7804723306716367842" >> states/0/search_results.txt
done
"""


def test_a_state_with_as_many_searches_as_it_may_have_is_left(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    """EON would search on for ever: it is stopped, and makes one hop by what is known."""
    engine = installed(
        "if grep -q 'confidence = 0.0' config.ini; then\n"
        "    grep -q 'max_kmc_steps = 1' config.ini || exit 1\n"
        f"    cp {RECORDED}/dynamics.txt .\n    exit 0\nfi\n"
        f"cp -r {RECORDED}/states .\n{SEARCHED}sleep 30\n"
    )
    few = SETTINGS.model_copy(update={"max_searches": 3})
    request = KMCRequest(start, Landscape(EMT(), "emt"), few, seed=1)
    result = engine.run(request, tmp_path / "walk", quiet)
    assert (result.status, len(result.hops)) == ("completed", 1)
    assert result.wall_s < 20
    (warning,) = result.warnings
    assert warning == "state 0 is known at a confidence below 0.9 after 4 searches"


def test_searches_that_all_come_to_nothing_end_the_walk(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    engine = installed("mkdir -p jobs/scratch; echo 9 > jobs/scratch/wuid; sleep 30\n")
    few = SETTINGS.model_copy(update={"max_searches": 3})
    request = KMCRequest(start, Landscape(EMT(), "emt"), few, seed=1)
    with pytest.raises(DynamicsError, match=r"end without results; see jobs/scratch.*stderr\.dat"):
        engine.run(request, tmp_path / "walk", quiet)


def test_hops_that_are_made_are_not_made_again(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    """A walk that was killed after its last hop has nothing left for EON to do."""
    request = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=1)
    first = installed(f"cp -r {RECORDED}/* .\n").run(request, tmp_path / "walk", quiet)
    again = installed("exit 1\n").run(request, tmp_path / "walk", quiet)
    assert again.status == "completed"
    assert again.hops == first.hops


def test_barriers_above_the_limit_are_left_out_but_for_the_way_that_was_taken(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    low = SETTINGS.model_copy(update={"max_barrier_eV": 0.2})
    request = KMCRequest(start, Landscape(EMT(), "emt"), low, seed=1)
    result = installed(f"cp -r {RECORDED}/* .\n").run(request, tmp_path / "walk", quiet)
    assert [len(state.mechanisms) for state in result.states] == [1, 0]
    (hop,) = result.hops
    assert result.states[0].mechanisms[0].number == hop.mechanism


def test_eon_begins_in_a_minimum(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    """It takes what it is given for its first state, relaxed or not."""
    engine = installed(f"cp -r {RECORDED}/dynamics.txt {RECORDED}/states .\n")
    request = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=1)
    engine.run(request, tmp_path / "walk", quiet)
    with (tmp_path / "walk" / "eon" / "pos.con").open() as stream:
        given = read_eon(stream)
    given.pbc = True  # the format does not tell
    given.calc = EMT()
    assert np.abs(given.get_forces()).max() < SETTINGS.fmax_eV_per_A
    start.calc = EMT()
    assert np.abs(start.get_forces()).max() > 10 * SETTINGS.fmax_eV_per_A


def test_gamma_is_watched_on_the_way_to_the_first_minimum(
    cu: Potential, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    crystal = bulk("Cu", "fcc", 3.6, cubic=True) * (2, 2, 2)
    crystal.positions[5] += 1.2
    request = KMCRequest(crystal, Landscape(cu.calculator(), "cu", 5.0), SETTINGS, seed=1)
    result = installed("exit 1\n").run(request, tmp_path / "walk", quiet)
    assert result.status == "halted"
    assert result.frame.get_array("gamma").max() > 5


def test_a_folder_with_another_walk_is_refused(
    start: Atoms, installed: Callable[[str], EONKMC], tmp_path: Path
) -> None:
    engine = installed(f"cp -r {RECORDED}/* .\n")
    request = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=1)
    first = engine.run(request, tmp_path / "walk", quiet)
    other = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=2)
    with pytest.raises(TableError, match="holds another walk"):
        engine.run(other, tmp_path / "walk", quiet)
    saved = tmp_path / "saved.db"
    shutil.copy(first.table, saved)
    on = KMCRequest(start, Landscape(EMT(), "emt"), SETTINGS, seed=2, table=saved)
    result = engine.run(on, tmp_path / "walk", quiet)
    assert result.time_s == pytest.approx(2 * first.time_s)
    assert result.hops[-1].time_s == result.time_s
