"""200 labels by EMT and 10 by pw.x while everything goes wrong that can.

Crashes, hangs, half files, results of other structures, a full disk and kill -9 at random
moments: nothing is lost, nothing is computed twice, and no wrong label is in the store.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pyacemaker.labels import LabelStore
from pyacemaker.oracle.espresso.kmesh import boxed, kmesh
from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.espresso.pw_input import electrons_of, write_input
from pyacemaker.oracle.pseudopotentials import find_pseudopotentials
from pyacemaker.oracle.settings import EspressoSettings
from pyacemaker.parts.quantum_espresso import quantum_espresso

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
HERE = Path(__file__).parent / "chaos"
_COPPER, _SILICON = 200, 10
_MOST_ROUNDS = 60
_ENOUGH_EV = 1e-4  # per atom


def _copper(rng: np.random.Generator) -> list[Atoms]:
    made = []
    for _ in range(_COPPER - 2):
        atoms = bulk("Cu", cubic=True, a=float(rng.uniform(3.4, 3.9)))
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        made.append(atoms)
    return [*made, bulk("Si", a=5.43), bulk("Si", a=5.5)]  # EMT knows no silicon


def _silicon(rng: np.random.Generator) -> list[Atoms]:
    made = []
    for _ in range(_SILICON):
        atoms = bulk("Si", a=5.43)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        made.append(atoms)
    return made


def _settings(**changes: Any) -> EspressoSettings:
    return EspressoSettings(ecutwfc_Ry=10, ecutrho_Ry=40, kspacing_per_A=1.6, **changes)


def _write_faults(folder: Path, silicon: list[Atoms]) -> None:
    """Note which fault is whose: one of each."""
    folder.mkdir()
    settings = _settings()
    upf = find_pseudopotentials(["Si"], "PBE", "pseudodojo", "standard")
    for number, atoms in enumerate(silicon):
        box = boxed(atoms)
        electrons = electrons_of(settings, len(box))
        text = write_input(box, kmesh(box, settings.kspacing_per_A), settings, upf, electrons)
        positions = re.sub(r"(?s).*ATOMIC_POSITIONS", "", text)
        name = hashlib.sha256(positions.encode()).hexdigest()[:16]
        (folder / f"{name}.number").write_text(str(number))


class Labelling:
    """Starts the labelling again and again, and kills it with signal 9."""

    def __init__(self, workdir: Path) -> None:
        self.started = workdir / "started"
        self.launcher = subprocess.Popen(
            [sys.executable, str(HERE / "run_labels.py"), str(workdir)],
            env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, kill_after_s: float, most_bytes: int | None = None) -> int:
        """Run it, and kill it so long after it began its work. Returns the exit status."""
        assert self.launcher.stdin is not None
        assert self.launcher.stdout is not None
        self.started.unlink(missing_ok=True)
        self.launcher.stdin.write(f"{most_bytes or ''}\n")
        self.launcher.stdin.flush()
        child = int(self.launcher.stdout.readline())
        deadline = time.monotonic() + 60
        while not self.started.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        ready, _, _ = select.select([self.launcher.stdout], [], [], kill_after_s)
        if not ready:
            os.kill(child, signal.SIGKILL)
        return int(self.launcher.stdout.readline())

    def close(self) -> None:
        """End the launcher."""
        self.launcher.kill()
        self.launcher.communicate()


def test_nothing_is_lost_nothing_doubled_and_no_wrong_label_kept(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = np.random.default_rng(7)
    copper, silicon = _copper(rng), _silicon(rng)
    ase.io.write(tmp_path / "copper.json", copper)
    ase.io.write(tmp_path / "silicon.json", silicon)
    _write_faults(tmp_path / "pw-faults", silicon)
    (tmp_path / "emt-faults").mkdir()
    espresso = quantum_espresso()
    command = (sys.executable, str(HERE / "pw_with_faults.py"), str(tmp_path / "pw-faults"))
    # the real program wants its own variables, whatever ours are
    variables = [f"{key}={value}" for key, value in espresso.variables(1).items()
                 if key in {"LD_PRELOAD", "LD_LIBRARY_PATH"}]  # fmt: skip
    command = (*command, "env", *variables, *espresso.pw_command())
    settings = _settings(command=command, stall_s=4.0, timeout_s=60.0)
    (tmp_path / "espresso.json").write_text(settings.model_dump_json())
    store = LabelStore(tmp_path / "labels")

    chance = random.Random(5)
    statuses: list[int] = []
    labelling = Labelling(tmp_path)
    request.addfinalizer(labelling.close)
    statuses.append(labelling.run(30, most_bytes=900))  # a disk that is full from the start
    assert statuses == [5]
    assert len(store) == 0
    while statuses[-1] != 0 and len(statuses) < _MOST_ROUNDS:
        statuses.append(labelling.run(_patience(statuses, store, chance)))
        if statuses[-1] == 0 and _one_time_failures(store):
            store.forget_failures()  # as --retry-failed does: faults of EMT strike once only
            statuses.append(-1)
    assert statuses[-1] == 0, statuses
    assert statuses.count(-9) >= 3, statuses  # it was really killed

    # What a kill interrupted was done by the program all the same, before its fault.
    assert len(list((tmp_path / "pw-faults").glob("*.struck"))) >= _SILICON - 3
    assert len(list((tmp_path / "emt-faults").iterdir())) == _COPPER - 2
    outcomes = {a["class"] for label in store for a in label.meta.get("attempts", ())}
    wanted = {"segmentation_fault", "stalled", "disk_full", "inconsistent_output", "killed",
              "xml_truncated", "no_output"}  # fmt: skip
    assert len(wanted & outcomes) >= 4, outcomes

    keys = set(store.keys())
    assert len(keys) == _COPPER + _SILICON - 2
    assert {f.atoms.symbols[0] for f in store.failures()} == {"Si"}
    assert len(store.failures()) == 2
    computed = Counter(line.key for line in LabelStore(tmp_path / "labels").computed())
    assert set(computed) == keys
    assert set(computed.values()) == {1}
    assert {line.status for line in store.computed()} <= {"new", "found"}
    assert store.corrupt() == []
    _demand_right_labels(store, tmp_path / "reference")
    _demand_that_damage_is_named(store)
    assert not _living_in(tmp_path)


def _patience(statuses: list[int], store: LabelStore, chance: random.Random) -> float:
    """Return after how many seconds to kill: soon, except where pw.x is to meet its faults."""
    silicon = sum(label.settings["code"] == "espresso" for label in store)
    if len(statuses) > 1 and silicon < _SILICON:
        return 60.0
    return chance.uniform(0.2, 2) if len(statuses) % 3 else 5.0


def _one_time_failures(store: LabelStore) -> int:
    return sum(f.atoms.symbols[0] != "Si" for f in store.failures())


def _demand_right_labels(store: LabelStore, reference: Path) -> None:
    """Compare every label with one that nothing disturbed."""
    clean = EspressoOracle(_settings())
    for number, label in enumerate(store):
        atoms = label.atoms.copy()
        energy = label.atoms.get_potential_energy()
        if label.settings["code"] == "ase":
            atoms.calc = EMT()
            assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(label.atoms.get_forces(), atoms.get_forces(), atol=1e-9)
        else:
            right = clean.label(atoms, reference / str(number)).atoms
            error = abs(energy - right.get_potential_energy()) / len(atoms)
            assert error < _ENOUGH_EV
            np.testing.assert_allclose(label.atoms.get_forces(), right.get_forces(), atol=2e-3)


def _demand_that_damage_is_named(store: LabelStore) -> None:
    chosen = random.Random(1).sample(store.keys(), 5)
    for key in chosen:
        path = store.directory / key[:2] / f"{key}.json"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    assert {error.path.stem for error in store.corrupt()} == set(chosen)


def _living_in(folder: Path) -> list[str]:
    time.sleep(0.5)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
