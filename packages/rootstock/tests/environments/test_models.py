"""CHGNet, SevenNet, tblite and ACE, built for real in one root and used from one process.

CHGNet and SevenNet have their weights in their wheels, and their environments do not go
together: one has numpy 1, the other numpy 2.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock.build.build import BuildOptions, build
from rootstock.build.register import register
from rootstock.build.smoke_test import crystal
from rootstock.build.verify import verify
from rootstock.root.create import create_root
from rootstock.root.files import remove_tree
from rootstock.root.layout import Layout
from rootstock.root.manifest import read_manifest
from rootstock.root.resolve import resolve_model
from rootstock.root.variables import complete

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

# Says what the calculator does not: where a model runs. It is also what there is without it.
_LOOP = """
import json, sys
from pathlib import Path
from ase import Atoms
from rootstock.build.smoke_test import load
answers = sys.stdout
sys.stdout = sys.stderr
calculator = load(Path(sys.argv[1]), sys.argv[2], "cpu", {})
for line in sys.stdin:
    asked = json.loads(line)
    atoms = Atoms(**asked)
    atoms.calc = calculator
    found = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces().tolist()}
    if atoms.pbc.all():
        found["stress"] = atoms.get_stress().tolist()
    found["numpy"] = sys.modules["numpy"].__version__
    answers.write(json.dumps(found) + chr(10))
    answers.flush()
"""


class Loop:
    """A model in its environment, spoken to in lines of JSON."""

    def __init__(self, layout: Layout, model: str) -> None:
        found = resolve_model(layout.folder, model)
        self.process = subprocess.Popen(
            [found.python, "-c", _LOOP, found.source, found.argument],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=complete(found.variables),
        )  # fmt: skip

    def ask(self, atoms: Atoms) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell[:].tolist(),
            "pbc": atoms.pbc.tolist(),
        }
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Served:
    """The same by the calculator."""

    def __init__(self, layout: Layout, model: str) -> None:
        calculator_class = import_module("rootstock.calculator").RootstockCalculator
        self.calculator = calculator_class(root=layout.folder, model=model, device="cpu")

    def ask(self, atoms: Atoms) -> dict[str, Any]:
        asked = atoms.copy()
        asked.calc = self.calculator
        found = {"energy": asked.get_potential_energy(), "forces": asked.get_forces()}
        return found | ({"stress": asked.get_stress()} if asked.pbc.all() else {})

    def close(self) -> None:
        self.calculator.close()


WAYS = [Loop, Served] if importlib.util.find_spec("rootstock.calculator") else [Loop]


@contextlib.contextmanager
def running(layout: Layout, *models: str, way: Any = WAYS[-1]) -> Iterator[list[Any]]:
    """Give running models; `ask` gives the energy (eV), forces and stress of a structure."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(way(layout, model))) for model in models]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    layout = create_root(tmp_path_factory.mktemp("models") / "root")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_PYTHON_DOWNLOADS", "never")
        patch.setenv("UV_LINK_MODE", "hardlink")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield layout
    remove_tree(layout.folder)


def built(layout: Layout, name: str, *models: str) -> dict[str, str]:
    """Build an environment if it is not there, and return the versions it holds."""
    if layout.current(f"{name}_env") is None:
        build(layout, name, BuildOptions(models=models or None), print)
    return read_manifest(layout).environments[f"{name}_env"].packages


@pytest.mark.parametrize("way", WAYS)
def test_chgnet_and_sevennet_in_one_process(layout: Layout, way: Any) -> None:
    one, two = built(layout, "chgnet"), built(layout, "sevennet", "0")
    assert one["numpy"].startswith("1.")
    assert two["numpy"].startswith("2.")
    silicon = bulk("Si", cubic=True)
    rattled = crystal(["Si"])
    with running(layout, "chgnet", "sevennet-0", way=way) as (chgnet, sevennet):
        answers = [worker.ask(silicon) for worker in (chgnet, sevennet)]
        forces = [np.array(worker.ask(rattled)["forces"]) for worker in (chgnet, sevennet)]
    if way is Loop:
        assert [a["numpy"] for a in answers] == [one["numpy"], two["numpy"]]
    for answer in answers:
        # Materials Project, mp-149, PBE: -5.42 eV/atom.
        assert answer["energy"] / 8 == pytest.approx(-5.42, abs=0.12)
        assert abs(np.array(answer["forces"])).max() < 0.01, "by symmetry"
    assert answers[0]["energy"] != pytest.approx(answers[1]["energy"], abs=1e-4)
    # Two models, one physics.
    agreement = np.corrcoef(forces[0].ravel(), forces[1].ravel())[0, 1]
    assert agreement > 0.95


def test_tblite_gives_the_published_energies(layout: Layout) -> None:
    built(layout, "tblite", "gfn1", "gfn2")
    water = molecule("H2O")
    with running(layout, "tblite", "tblite-gfn1", "xtb-gfn2") as workers:
        energies = [worker.ask(water)["energy"] for worker in workers]
    # The documentation of tblite.ase.
    assert energies[0] == pytest.approx(-137.96777594361677, abs=1e-6)
    assert energies[1] == pytest.approx(-156.96750590276173, abs=1e-6)
    assert energies[2] == energies[0]


def test_an_ace_potential_made_by_pyacemaker(layout: Layout, tmp_path: Path) -> None:
    potential_module = pytest.importorskip("pyacemaker.potential")
    potential = _fit(tmp_path)
    record = register(layout, "ace-copper", potential, print, facts={"verdict": "certified"})
    assert record.verified == {}, "there is no environment yet"
    built(layout, "ace")
    model = read_manifest(layout).models["ace-copper"]
    assert model.verified["cpu"].force_error_eV_per_A is not None
    assert model.elements == ["Cu"]
    files = [path for path in potential.rglob("*") if path.is_file()]
    assert len(model.weights) == len(files) >= 5
    atoms = bulk("Cu", a=3.2, cubic=True)
    atoms.rattle(0.1, seed=2)
    with running(layout, "ace-copper", f"ace-{potential}") as workers:
        answers = [worker.ask(atoms) for worker in workers]
    atoms.calc = potential_module.Potential.load(potential).calculator()
    for answer in answers:
        assert answer["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(answer["forces"], atoms.get_forces(), atol=1e-10)
        np.testing.assert_allclose(answer["stress"], atoms.get_stress(), atol=1e-10)


def test_what_was_built_is_still_what_it_was(layout: Layout) -> None:
    built(layout, "chgnet")
    for verdict in verify(layout, (), "cpu", print, checksums_only=True):
        assert verdict.problem is None


def _fit(folder: Path) -> Path:
    from pyacemaker.trainer.pacemaker import LinearTrainer
    from pyacemaker.trainer.settings import TrainerSettings

    trainer_tests = Path(__file__).parents[3] / "pyacemaker" / "tests" / "trainer"
    spec = importlib.util.spec_from_file_location("emt_labels", trainer_tests / "emt_labels.py")
    assert spec is not None
    assert spec.loader is not None
    emt = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(emt)
    fit = LinearTrainer(TrainerSettings(functions_per_element=40)).fit(
        emt.rattled(["Cu"], 16, seed=1),
        emt.rattled(["Cu"], 8, seed=2),
        emt.reference_energies(["Cu"]),
        folder / "potential",
        np.random.default_rng(0),
    )
    return Path(fit.potential)
