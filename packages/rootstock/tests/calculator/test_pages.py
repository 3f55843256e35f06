"""The Python that docs/rootstock.md shows runs, with the built-in EMT as the model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from rootstock import RootstockCalculator

pytestmark = pytest.mark.real
PAGE = Path(__file__).parents[4] / "docs" / "rootstock.md"
BLOCKS = re.findall(r"(?s)```python\n(.*?)```", PAGE.read_text())


def block(words: str) -> str:
    """Return the one block with these words."""
    (found,) = [text for text in BLOCKS if words in text]
    return found


def test_compute_with_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    given = 'root="/scratch/rootstock", model="mace-medium", device="cuda"'
    text = block("get_potential_energy()")
    assert given in text
    exec(text.replace(given, 'model="emt"'), {})
    assert capsys.readouterr().out.startswith("-0.02")


def test_many_structures_at_once() -> None:
    with RootstockCalculator("emt") as calc:
        known = {"calc": calc, "structures": [bulk("Cu"), bulk("Au", cubic=True)]}
        exec(block("calculate_many(structures)"), known)
    assert len(known["energies"]) == 2
    exec(block("def calculate_many"), {"Atoms": Atoms})


def test_lammps_with_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", a=3.7, cubic=True) * (2, 2, 2)
    atoms.symbols[:4] = "Au"
    write("start.data", atoms, format="lammps-data", specorder=["Cu", "Au"], masses=True)
    text = block("FixModel(").replace("run 1000", "run 20")
    known: dict[str, object] = {}
    exec(text, known)
    assert known["lmp"].get_thermo("step") == 20


def test_an_outside_client_drives_atoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", cubic=True)
    write("start.xyz", atoms)
    Path("emt.py").write_text(
        "def setup(model, device, **kwargs):\n"
        "    from ase.calculators.emt import EMT\n\n    return EMT()\n"
    )
    (shown,) = re.findall(r"(?m)^    python -m (rootstock\.worker .*)$", PAGE.read_text())
    command = [sys.executable, "-m", *shown.split(), "--connect-timeout", "60"]
    with subprocess.Popen(command) as client:
        text = block("IPICalculator(unixsocket") + "    energy = atoms.get_potential_energy()\n"
        known: dict[str, object] = {"atoms": atoms}
        exec(text, known)
        client.wait(30)
    itself = bulk("Cu", cubic=True)
    itself.calc = EMT()
    assert known["energy"] == pytest.approx(itself.get_potential_energy(), abs=1e-9)
