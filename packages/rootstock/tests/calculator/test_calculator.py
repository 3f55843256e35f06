"""The calculator: the same numbers as the model's own, whatever changes, whichever way they go."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, compare_atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import Trajectory
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.units import fs

from rootstock import ModelError, RootstockCalculator, RootstockError

ECHO = """
    import numpy as np
    from ase.calculators.calculator import Calculator, all_changes

    class Echo(Calculator):
        '''An energy that tells everything of the structure that it was given.'''

        implemented_properties = ["energy", "forces", "stress", "magmoms", "dipole"]
        calls = 0

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            Echo.calls += 1
            energy = (
                atoms.numbers.sum() + 1e3 * atoms.pbc.sum() + 1e-3 * atoms.cell.array.sum()
                + 7.0 * atoms.get_initial_charges().sum()
                + 11.0 * atoms.get_initial_magnetic_moments().sum()
                + 13.0 * atoms.get_tags().sum() + 17.0 * float(atoms.info.get("charge", 0))
                + 19.0 * float(np.sum(atoms.info.get("field", 0)))
            )
            self.results = {
                "energy": energy,
                "forces": atoms.positions * 2.0,
                "dipole": np.array([Echo.calls, len(system_changes), 0.0]),
            }
            if "stress" in properties:
                self.results["stress"] = np.arange(6.0)
            if "magmoms" in properties:
                self.results["magmoms"] = atoms.get_initial_magnetic_moments()

    def setup(model, device, **kwargs):
        return Echo()
"""


@pytest.fixture(scope="module", params=["auto", "socket"])
def emt(request: pytest.FixtureRequest) -> Iterator[RootstockCalculator]:
    """EMT by both ways that convert nothing, one process for all tests."""
    with RootstockCalculator("emt", transport=request.param, timeout=60) as calculator:
        yield calculator


@pytest.fixture
def echo(source: Callable[[str], Path]) -> Iterator[RootstockCalculator]:
    """A model that tells what it was given."""
    with RootstockCalculator(environment=source(ECHO), timeout=60) as calculator:
        yield calculator


def same(atoms: Atoms, own: Any) -> None:
    """Demand the same bits from a structure's calculator as from the model's own."""
    reference = atoms.copy()
    reference.calc = own
    assert atoms.get_potential_energy() == reference.get_potential_energy()
    assert atoms.get_forces().tobytes() == reference.get_forces().tobytes()
    assert type(atoms.get_potential_energy()) is float
    if atoms.cell.rank == 3:
        assert atoms.get_stress().tobytes() == reference.get_stress().tobytes()


def test_bit_for_bit_whatever_changes(emt: RootstockCalculator, copper: Atoms) -> None:
    copper.calc = emt
    same(copper, EMT())
    copper.positions[0] += 0.1
    same(copper, EMT())
    copper.numbers[:8] = 79
    same(copper, EMT())
    copper.set_cell(copper.cell.array * 1.01)
    same(copper, EMT())
    copper.pbc = [True, False, True]
    same(copper, EMT())
    del copper[[3, 5]]
    same(copper, EMT())
    copper += Atoms("H2", [[0, 0, 20.0], [0, 0, 20.8]])
    same(copper, EMT())
    other = molecule("CH4")
    other.calc = emt
    same(other, EMT())
    same(copper, EMT())


def test_bit_for_bit_for_sizes_that_grow(emt: RootstockCalculator) -> None:
    for n in (1, 4, 6, 3):  # the last one fits into what the others needed
        atoms = bulk("Cu", cubic=True) * (n, n, n)
        atoms.rattle(0.02, seed=n)
        atoms.calc = emt
        same(atoms, EMT())


def test_an_empty_cell_has_no_stress(emt: RootstockCalculator) -> None:
    atoms = molecule("CO")
    atoms.calc = emt
    same(atoms, EMT())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_the_plain_protocol_takes_other_species_too(copper: Atoms) -> None:
    with RootstockCalculator("emt", transport="i-pi", timeout=60) as calculator:
        copper.calc = calculator
        for _ in range(2):
            reference = copper.copy()
            reference.calc = EMT()
            assert copper.get_potential_energy() == pytest.approx(
                reference.get_potential_energy(), rel=1e-12
            )
            np.testing.assert_allclose(copper.get_forces(), reference.get_forces(), atol=1e-11)
            np.testing.assert_allclose(copper.get_stress(), reference.get_stress(), atol=1e-12)
            copper.numbers[5] = 79


def test_the_plain_protocol_tells_all_that_stays(
    source: Callable[[str], Path], copper: Atoms
) -> None:
    copper.set_initial_charges([0.5] + [0.0] * 31)
    copper.info = {"charge": -1, "field": np.array([0.5, 0.25])}
    energies = []
    for transport in ("auto", "i-pi"):
        path = source(ECHO)
        with RootstockCalculator(environment=path, transport=transport, timeout=60) as calculator:
            copper.calc = calculator
            energies.append(copper.get_potential_energy())
            copper.info["charge"] = 2
            energies.append(copper.get_potential_energy())
            copper.info["charge"] = -1
    assert energies[:2] == pytest.approx(energies[2:], rel=1e-12)
    assert energies[1] - energies[0] == pytest.approx(51.0)


def test_options_and_lennard_jones() -> None:
    options = {"sigma": 3.4, "epsilon": 0.0104, "rc": 8.0}
    atoms = Atoms("Ar3", [[0, 0, 0], [3.7, 0, 0], [0, 3.9, 0]])
    with RootstockCalculator("lj", options=options, timeout=60) as calculator:
        atoms.calc = calculator
        same(atoms, LennardJones(**options))
        assert calculator.parameters["sigma"] == 3.4


@pytest.mark.parametrize(
    ("name", "change", "energy"),
    [
        ("numbers", lambda a: a.numbers.__setitem__(0, 30), 1.0),
        ("pbc", lambda a: setattr(a, "pbc", [True, True, False]), -1000.0),
        ("cell", lambda a: a.cell.array.__setitem__((2, 2), a.cell.array[2, 2] + 1e3), 1.0),
        ("initial_charges", lambda a: a.set_initial_charges([0.5] + [0.0] * 31), 3.5),
        ("initial_magmoms", lambda a: a.set_initial_magnetic_moments([1.0] + [0.0] * 31), 11.0),
        ("tags", lambda a: a.set_tags([2] + [0] * 31), 26.0),
        ("info", lambda a: a.info.update(charge=-1), -17.0),
        ("info", lambda a: a.info.update(field=np.array([0.5, 0.5])), 19.0),
    ],
)
def test_no_change_is_missed(
    echo: RootstockCalculator,
    copper: Atoms,
    name: str,
    change: Callable[[Atoms], None],
    energy: float,
) -> None:
    copper.calc = echo
    before = copper.get_potential_energy()
    assert not echo.calculation_required(copper, ["energy"])
    change(copper)
    assert name in echo.check_state(copper)
    assert copper.get_potential_energy() - before == pytest.approx(energy)
    assert not echo.check_state(copper)


def test_nothing_is_computed_twice(echo: RootstockCalculator, copper: Atoms) -> None:
    copper.calc = echo

    def calls() -> int:
        return int(copper.get_dipole_moment()[0])

    assert calls() == 1
    copper.get_potential_energy()
    copper.get_forces()
    copper.get_stress()
    copper.get_potential_energy(force_consistent=True)
    assert calls() == 1
    assert copper.get_magnetic_moments().shape == (32,)  # asked for: computed anew
    assert calls() == 2
    copper.positions[0, 0] = np.nextafter(copper.positions[0, 0], 10.0)  # one bit
    copper.get_forces()
    copper.get_magnetic_moments()
    assert calls() == 3
    # the model is told what has changed, so that it can keep its neighbour lists
    assert copper.get_dipole_moment()[1] == 1


def test_results_belong_to_the_user(emt: RootstockCalculator, copper: Atoms) -> None:
    copper.calc = emt
    forces = copper.get_forces()
    kept = forces.copy()
    forces[:] = 0.0
    assert (copper.get_forces() == kept).all()
    copper.positions[0] += 0.2
    copper.get_forces()
    copper.positions[0] -= 0.1
    held = copper.get_forces()
    before = held.copy()
    copper.positions[0] -= 0.1
    copper.get_forces()
    assert (held == before).all(), "a later answer shows through"


def test_what_a_model_cannot(emt: RootstockCalculator, copper: Atoms) -> None:
    copper.calc = emt
    with pytest.raises(PropertyNotImplementedError):
        copper.get_dipole_moment()
    with pytest.raises(PropertyNotImplementedError):
        emt.get_property("nonsense", copper)
    same(copper, EMT())


def test_atoms_are_the_last_structure(emt: RootstockCalculator, copper: Atoms) -> None:
    copper.calc = emt
    copper.get_potential_energy()
    held = emt.atoms
    assert held is not copper
    assert compare_atoms(held, copper) == []
    copper.positions[0] += 1.0
    assert compare_atoms(emt.atoms, copper) == ["positions"]
    assert emt.get_property("energy") == held.info.get("none", emt.results["energy"])


def test_ase_runs_with_it(emt: RootstockCalculator, tmp_path: Path) -> None:
    """Optimisers, dynamics and trajectories, step by step as with the model's own calculator."""

    def run(calculator: Any, folder: Path) -> Atoms:
        folder.mkdir(exist_ok=True)
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=1)
        atoms.calc = calculator
        with Trajectory(folder / "t.traj", "w", atoms) as trajectory:
            dynamics = VelocityVerlet(atoms, timestep=2 * fs, logfile=None)
            dynamics.attach(trajectory)
            dynamics.run(20)
        BFGS(atoms, logfile=None).run(fmax=1e-3, steps=30)
        return atoms

    ours, own = run(emt, tmp_path / "ours"), run(EMT(), tmp_path / "own")
    assert ours.positions.tobytes() == own.positions.tobytes()
    with Trajectory(tmp_path / "ours/t.traj") as one, Trajectory(tmp_path / "own/t.traj") as two:
        for a, b in zip(one, two, strict=True):
            assert a.get_potential_energy() == b.get_potential_energy()
            assert (a.get_forces() == b.get_forces()).all()


def test_many(emt: RootstockCalculator, copper: Atoms) -> None:
    structures = [copper, molecule("H2O"), bulk("Au"), copper * (2, 1, 1), copper.copy()]
    structures[4].positions[0] += 0.3
    for batch_size in (None, 1, 2):
        answers = emt.calculate_many(structures, batch_size=batch_size)
        assert [len(a["forces"]) for a in answers] == [32, 3, 1, 64, 32]
        for atoms, answer in zip(structures, answers, strict=True):
            reference = atoms.copy()
            reference.calc = EMT()
            assert answer["energy"] == reference.get_potential_energy()
            assert (answer["forces"] == reference.get_forces()).all()
            assert ("stress" in answer) == (atoms.cell.rank == 3)
    assert emt.calculate_many([]) == []
    assert set(emt.calculate_many([copper], ["energy"])[0]) == {"energy"}
    with pytest.raises(ValueError, match="batch_size"):
        emt.calculate_many([copper], batch_size=0)


def test_many_after_one_and_one_after_many(emt: RootstockCalculator, copper: Atoms) -> None:
    copper.calc = emt
    same(copper, EMT())
    emt.calculate_many([copper, molecule("H2O")])
    assert not emt.check_state(copper)
    copper.positions[1] += 0.05
    same(copper, EMT())


BATCH = """
    import numpy as np

    class Batch:
        '''Has nothing but a batch method; refuses gold, and more than four at a time.'''

        def __init__(self):
            self.sizes = []

        def calculate_many(self, structures, properties):
            if len(structures) > 4:
                raise MemoryError("more than four")
            self.sizes.append(len(structures))
            if any(79 in atoms.numbers for atoms in structures):
                raise ValueError("gold is not for me")
            return [
                {"energy": float(len(structures)), "forces": np.zeros((len(a), 3)),
                 "stress": np.full(6, float(len(self.sizes)))}
                for a in structures
            ]

    def setup(model, device, **kwargs):
        return Batch()
"""


def test_a_model_that_batches_gets_them_together(
    source: Callable[[str], Path], copper: Atoms
) -> None:
    gold = bulk("Au")
    with RootstockCalculator(environment=source(BATCH), timeout=60) as calculator:
        copper.calc = calculator
        assert copper.get_potential_energy() == 1.0
        answers = calculator.calculate_many([copper] * 4)
        assert [a["energy"] for a in answers] == [4.0] * 4
        answers = calculator.calculate_many([copper] * 8)  # too many at once: halves
        assert [a["energy"] for a in answers] == [4.0] * 8
        with pytest.raises(ModelError, match="gold is not for me") as caught:
            calculator.calculate_many([copper, copper, gold, copper])
        assert caught.value.index == 2
        assert caught.value.kind == "ValueError"
        answers = calculator.calculate_many([copper, copper, gold, copper], allow_errors=True)
        assert isinstance(answers[2], ModelError)
        assert [a["energy"] for i, a in enumerate(answers) if i != 2] == [2.0, 2.0, 1.0]


def test_single_precision_stays_what_it_is(source: Callable[[str], Path], copper: Atoms) -> None:
    path = source(
        """
        import numpy as np
        from ase.calculators.calculator import Calculator, all_changes

        class Single(Calculator):
            implemented_properties = ["energy", "forces"]

            def calculate(self, atoms=None, properties=(), system_changes=all_changes):
                super().calculate(atoms, properties, system_changes)
                self.results = {
                    "energy": np.float32(0.1), "forces": (atoms.positions / 3).astype(np.float32)
                }

        def setup(model, device, **kwargs):
            return Single()
        """
    )
    with RootstockCalculator(environment=path, timeout=60) as calculator:
        copper.calc = calculator
        for _ in range(2):
            assert copper.get_potential_energy() == float(np.float32(0.1))
            forces = copper.get_forces()
            assert (forces == (copper.positions / 3).astype(np.float32)).all()
            copper.positions += 0.1
        with pytest.raises(PropertyNotImplementedError):
            copper.get_stress()


def test_without_shared_memory_the_socket_carries_all(
    monkeypatch: pytest.MonkeyPatch, copper: Atoms
) -> None:
    def refuse(size: int) -> int:
        raise OSError("no memory to share")

    with RootstockCalculator("emt", timeout=60) as calculator:
        copper.calc = calculator
        same(copper, EMT())
        monkeypatch.setattr("rootstock.server.session.anonymous_file", refuse)
        larger = copper * (6, 5, 5)  # does not fit into what is there
        larger.calc = calculator
        same(larger, EMT())
        copper.positions[0] += 0.1
        copper.numbers[0] = 79
        same(copper, EMT())


def test_an_answer_that_is_larger_than_its_memory(
    source: Callable[[str], Path], copper: Atoms
) -> None:
    path = source(
        """
        import numpy as np
        from ase.calculators.calculator import Calculator, all_changes

        class Talkative(Calculator):
            implemented_properties = ["energy", "forces", "charges"]
            calls = 0

            def calculate(self, atoms=None, properties=(), system_changes=all_changes):
                super().calculate(atoms, properties, system_changes)
                Talkative.calls += 1
                size = 100_000 if Talkative.calls in (2, 3) else 10
                self.results = {
                    "energy": float(Talkative.calls), "forces": atoms.positions.copy(),
                    "charges": np.arange(size) + Talkative.calls,
                }

        def setup(model, device, **kwargs):
            return Talkative()
        """
    )
    with RootstockCalculator(environment=path, timeout=60) as calculator:
        copper.calc = calculator
        for call, size in enumerate((10, 100_000, 100_000, 10, 10), 1):
            assert copper.get_potential_energy() == call
            assert (copper.get_forces() == copper.positions).all()
            assert (calculator.results["charges"] == np.arange(size) + call).all()
            copper.positions += 0.1


def test_two_calculators_do_not_collide(copper: Atoms) -> None:
    gold = bulk("Au", cubic=True)
    with (
        RootstockCalculator("emt", timeout=60) as one,
        RootstockCalculator("emt", timeout=60) as two,
    ):
        copper.calc, gold.calc = one, two
        for _ in range(3):
            same(copper, EMT())
            same(gold, EMT())
            copper.positions[0] += 0.01
            gold.positions[0] += 0.01
        assert one.about["pid"] != two.about["pid"]


def test_threads_are_served_one_after_another(emt: RootstockCalculator) -> None:
    wrong: list[str] = []

    def work(seed: int) -> None:
        for k in range(20):
            atoms = bulk("Cu", cubic=True) * (1 + seed % 2, 1, 1)
            atoms.rattle(0.1, seed=100 * seed + k)
            reference = atoms.copy()
            reference.calc = EMT()
            answer = emt.calculate_many([atoms])[0]
            # EMT adds in the order of its neighbour list, which depends on what came before
            if abs(answer["energy"] - reference.get_potential_energy()) > 1e-10:
                wrong.append(f"{seed} {k}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_started_in_a_thread_that_ends(copper: Atoms) -> None:
    """The worker's death signal must not be that of the thread which started it."""
    calculator = RootstockCalculator("emt", timeout=60)
    thread = threading.Thread(target=calculator.start)
    thread.start()
    thread.join(60)
    pid = calculator.about["pid"]
    copper.calc = calculator
    same(copper, EMT())
    assert calculator.about["pid"] == pid
    calculator.close()


def _in_child(calculator: RootstockCalculator, atoms: Atoms, queue: Any) -> None:
    atoms.calc = calculator
    queue.put((atoms.get_potential_energy(), calculator.about["pid"]))
    calculator.close()


def test_a_forked_child_gets_a_worker_of_its_own(copper: Atoms) -> None:
    context = multiprocessing.get_context("fork")
    with RootstockCalculator("emt", timeout=60) as calculator:
        copper.calc = calculator
        energy = copper.get_potential_energy()
        pid = calculator.about["pid"]
        copper.calc = None
        moved = copper.copy()
        moved.positions[0] += 0.1
        queue = context.Queue()
        child = context.Process(target=_in_child, args=(calculator, moved, queue))
        child.start()
        told, other = queue.get(timeout=60)
        child.join(60)
        assert other != pid
        assert told != energy
        # the child's end has not touched ours
        moved.calc = calculator
        assert moved.get_potential_energy() == told
        assert calculator.about["pid"] == pid


def test_pickle_and_copy(copper: Atoms) -> None:
    with RootstockCalculator("emt", timeout=60) as calculator:
        copper.calc = calculator
        energy = copper.get_potential_energy()
        again = pickle.loads(pickle.dumps(copper))
        assert again.calc.results["energy"] == energy
        assert again.get_potential_energy() == energy
        assert again.calc.about == {}, "a copy starts nothing before it has to"
        twin = copy.deepcopy(copper)
        twin.positions[0] += 0.1
        same(twin, EMT())
        assert twin.calc.about["pid"] != calculator.about["pid"]
        twin.calc.close()


def test_a_pickle_is_used_by_another_python(copper: Atoms, tmp_path: Path) -> None:
    copper.calc = RootstockCalculator("emt", timeout=60)
    (tmp_path / "atoms.pkl").write_bytes(pickle.dumps(copper))
    code = (
        "import pickle, sys; atoms = pickle.load(open(sys.argv[1], 'rb')); "
        "print(repr(atoms.get_potential_energy())); atoms.calc.close()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "atoms.pkl")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert float(told.stdout) == copper.get_potential_energy()


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(RootstockError, match="name a model"):
        RootstockCalculator()
    with pytest.raises(RootstockError, match="not both"):
        RootstockCalculator("emt", root=tmp_path, cluster="modal")
    with pytest.raises(ValueError, match="timeout"):
        RootstockCalculator("emt", timeout=0)
    with pytest.raises(ValueError, match="transport"):
        RootstockCalculator("emt", transport="pigeon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device"):
        RootstockCalculator("emt", options={"device": "cuda"})
    with pytest.raises(ValueError, match="JSON"):
        RootstockCalculator("emt", options={"x": object()})
    with pytest.raises(RuntimeError, match="is not there"):
        RootstockCalculator(environment=tmp_path / "none.py")


def test_an_environment_file_may_define_dataclasses(
    copper: Atoms, source: Callable[[str], Path]
) -> None:
    path = source(
        """\
        from __future__ import annotations

        from dataclasses import dataclass
        from typing import ClassVar

        from ase.calculators.emt import EMT


        @dataclass
        class Choice:
            name: str
            known: ClassVar[int] = 1


        def setup(model, device, **kwargs):
            return EMT() if Choice("emt").name == "emt" else None
        """
    )
    with RootstockCalculator(environment=path, timeout=60) as calculator:
        copper.calc = calculator
        assert np.isfinite(copper.get_potential_energy())
