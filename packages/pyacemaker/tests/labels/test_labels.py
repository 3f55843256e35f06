"""The label store: what names a label, that it returns bit for bit, and that nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from pyacemaker.labels import CorruptLabelError, LabelStore, label_key
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.provenance import provenance_of, tag

SETTINGS = {"functional": "PBE", "ecutwfc_Ry": 60.0, "kpts": (3, 3, 3), "spin": False}


def labelled(seed: int = 0, moments: tuple[float, ...] | None = None) -> Label:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    if moments:
        atoms.set_initial_magnetic_moments(moments)
    tag(atoms, "rattle", "bulk", seed=seed)
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return Label(atoms, SETTINGS, {"wall_s": 0.25, "attempts": [{"mixing": 0.7}]})


def test_a_label_returns_bit_for_bit(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels")
    label = labelled(moments=(0.5, -0.5, 0.1, 0.0))
    key = store.put(label)
    assert (tmp_path / "labels" / key[:2] / f"{key}.json").is_file()
    back = LabelStore(tmp_path / "labels").get(key)
    assert back is not None
    assert np.array_equal(back.atoms.positions, label.atoms.positions)
    assert np.array_equal(back.atoms.cell.array, label.atoms.cell.array)
    assert np.array_equal(back.atoms.get_forces(), label.atoms.get_forces())
    assert np.array_equal(back.atoms.get_stress(), label.atoms.get_stress())
    assert back.atoms.get_potential_energy() == label.atoms.get_potential_energy()
    assert np.array_equal(
        back.atoms.get_initial_magnetic_moments(), label.atoms.get_initial_magnetic_moments()
    )
    assert provenance_of(back.atoms) == {
        "generator": "rattle",
        "group": "bulk",
        "seed": 0,
    }
    assert back.settings["ecutwfc_Ry"] == 60.0
    assert back.meta["attempts"] == [{"mixing": 0.7}]
    assert store.key(back.atoms, back.settings) == key


def test_forces_of_constrained_atoms_are_kept(tmp_path: Path) -> None:
    label = labelled()
    raw = label.atoms.calc.results["forces"].copy()
    label.atoms.set_constraint(FixAtoms([0]))
    store = LabelStore(tmp_path)
    back = store.get(store.put(label))
    assert back is not None
    assert np.array_equal(back.atoms.get_forces(), raw)
    assert np.any(raw[0] != 0)


def test_the_key_is_the_physics_and_nothing_else() -> None:
    atoms = labelled().atoms
    key = label_key(atoms, SETTINGS)

    same = atoms.copy()
    same.info = {"provenance": {"generator": "other", "group": "x"}}
    same.positions += 1e-11
    assert label_key(same, SETTINGS) == key
    signed = Atoms("H", positions=[[0.0, 0.0, 0.0]], cell=np.eye(3) * 5)
    negative = Atoms("H", positions=[[-0.0, -1e-12, 0.0]], cell=np.eye(3) * 5)
    assert label_key(signed, {}) == label_key(negative, {})
    zero_moments = atoms.copy()
    zero_moments.set_initial_magnetic_moments([0.0] * 4)
    assert label_key(zero_moments, SETTINGS) == key
    reordered = {**dict(reversed(SETTINGS.items())), "ecutwfc_Ry": 60, "kpts": np.array([3, 3, 3])}
    assert label_key(atoms, reordered) == key

    others = []
    for change in ("positions", "cell", "pbc", "numbers", "moments", "charges"):
        other = atoms.copy()
        if change == "positions":
            other.positions[0, 0] += 1e-7
        elif change == "cell":
            other.set_cell(other.cell.array * (1 + 1e-7))
        elif change == "pbc":
            other.pbc = (True, True, False)
        elif change == "numbers":
            other.numbers[0] = 47
        elif change == "moments":
            other.set_initial_magnetic_moments([1.0, 0, 0, 0])
        else:
            other.set_initial_charges([1.0, 0, 0, 0])
        others.append(label_key(other, SETTINGS))
    others.append(label_key(atoms, {**SETTINGS, "ecutwfc_Ry": 60.5}))
    others.append(label_key(atoms, {**SETTINGS, "spin": True}))
    assert len({key, *others}) == len(others) + 1


def test_the_key_is_the_same_in_every_version_of_the_program() -> None:
    atoms = Atoms("Si2", positions=[[0, 0, 0], [1.3575, 1.3575, 1.3575]], cell=[5.43] * 3, pbc=True)
    assert label_key(atoms, {"functional": "PBE", "ecutwfc_Ry": 30.0}) == (
        "cab5dba0370b92a82609f819df83a99d4ec454ecccbb44f74596308b6e57618c"
    )


def test_bad_structures_settings_and_labels_are_refused(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    broken = labelled().atoms
    broken.positions[1, 1] = np.nan
    with pytest.raises(ValueError, match="positions are not finite"):
        store.key(broken, SETTINGS)
    with pytest.raises(TypeError, match=r"settings\.mesh is set"):
        store.key(labelled().atoms, {"mesh": {1, 2}})
    with pytest.raises(ValueError, match=r"settings\.cutoff is nan"):
        store.key(labelled().atoms, {"cutoff": float("nan")})
    for missing in ("energy", "forces", "stress"):
        label = labelled()
        del label.atoms.calc.results[missing]
        with pytest.raises(ValueError, match=f"no finite {missing}"):
            store.put(label)
    infinite = labelled()
    infinite.atoms.calc.results["forces"][0, 0] = np.inf
    with pytest.raises(ValueError, match="no finite forces"):
        store.put(infinite)
    moved = labelled()
    moved.atoms.positions[0, 0] += 1e-3
    with pytest.raises(ValueError, match="changed after"):
        store.put(moved)
    with pytest.raises(ValueError, match="key"):
        store.get("../../etc/passwd")
    assert store.keys() == []


def test_an_odd_remark_does_not_lose_a_label(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    label = labelled()
    key = store.put(
        Label(label.atoms, SETTINGS, {"wall_s": np.float64(2), "path": tmp_path, "x": float("nan")})
    )
    back = store.get(key)
    assert back is not None
    assert back.meta == {"wall_s": 2.0, "path": str(tmp_path), "x": "nan"}


def test_the_first_writer_stays_and_the_second_is_seen(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    first = labelled()
    key = store.put(first)
    before = (tmp_path / key[:2] / f"{key}.json").read_bytes()
    second = labelled()
    tag(second.atoms, "somebody else", "late")
    assert store.put(second) == key
    assert (tmp_path / key[:2] / f"{key}.json").read_bytes() == before
    assert [(line.key, line.wall_s, line.status) for line in store.computed()] == [
        (key, 0.25, "new"),
        (key, 0.25, "again"),
    ]


def test_a_label_whose_log_line_was_lost_is_logged_as_found(tmp_path: Path) -> None:
    key = LabelStore(tmp_path).put(labelled(1))
    log = tmp_path / "computed.log"
    log.write_text(log.read_text()[:20])  # also a torn line
    other = LabelStore(tmp_path).put(labelled(2))
    assert [(line.key, line.status) for line in LabelStore(tmp_path).computed()] == [
        (key, "found"),
        (other, "new"),
    ]


@pytest.mark.parametrize("damage", ["number", "cut", "empty", "not json", "renamed", "format"])
def test_damage_is_found_and_named(tmp_path: Path, damage: str) -> None:
    store = LabelStore(tmp_path)
    key = store.put(labelled())
    path = tmp_path / key[:2] / f"{key}.json"
    text = path.read_text()
    if damage == "number":
        whole = json.loads(text)
        whole["content"]["results"]["energy"] += 1e-9
        path.write_text(json.dumps(whole))
    elif damage == "cut":
        path.write_text(text[: len(text) // 2])
    elif damage == "empty":
        path.write_text("")
    elif damage == "not json":
        path.write_bytes(b"\xff\xfe\x00")
    elif damage == "format":
        path.write_text(text.replace("label 1", "label 9"))
    else:
        key = "0" * 64
        path = tmp_path / "00" / f"{key}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with pytest.raises(CorruptLabelError, match=str(path)):
        store.get(key)
    with pytest.raises(CorruptLabelError):
        list(store)
    assert [error.path for error in store.corrupt()] == [path]
    if damage != "renamed":  # never overwritten, not even then
        damaged = path.read_bytes()
        with pytest.raises(CorruptLabelError):
            store.put(labelled())
        assert path.read_bytes() == damaged


def test_failures_are_kept_until_they_are_forgotten(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    atoms = labelled().atoms
    error = OracleError("SCF did not converge in 3 attempts", {"attempts": [{"mixing": 0.1}]})
    key = store.put_failure(atoms, SETTINGS, error)
    assert key == store.key(atoms, SETTINGS)
    assert not store.contains(key)
    failure = LabelStore(tmp_path).failure(key)
    assert failure is not None
    assert failure.diagnosis == "SCF did not converge in 3 attempts"
    assert failure.meta == {"attempts": [{"mixing": 0.1}]}
    assert np.array_equal(failure.atoms.positions, atoms.positions)
    assert [f.key for f in store.failures()] == [key]
    assert store.forget_failures() == 1
    assert store.failure(key) is None

    store.put_failure(atoms, SETTINGS, error)
    store.put(labelled())  # it could be labelled after all
    assert store.failures() == []


def test_keys_iteration_and_workdir(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    assert len(store) == 0
    keys = {store.put(labelled(seed)) for seed in range(5)}
    assert set(store.keys()) == keys
    assert len(list(store)) == len(store) == 5
    key = store.keys()[0]
    assert key in store
    work = store.workdir(key)
    assert work.is_dir()
    (work / "pw.out").write_text("x")
    assert store.workdir(key) == work
    assert len(store) == 5
    assert store.get("f" * 64) is None


def test_leftovers_are_ignored_and_only_old_ones_removed(tmp_path: Path) -> None:
    key = LabelStore(tmp_path).put(labelled())
    young = tmp_path / key[:2] / f".{key}.json.young"
    old = tmp_path / key[:2] / f".{key}.json.old"
    for path in (young, old):
        path.write_text("half a la")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    store = LabelStore(tmp_path)
    assert store.keys() == [key]
    assert young.exists()
    assert not old.exists()


_WRITER = """
import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])
from test_labels import LabelStore, labelled
store = LabelStore(Path(sys.argv[1])); labels = [labelled(i) for i in range(150)]
print('go', flush=True)
if len(sys.argv) > 3:
    sys.stdin.readline()
    for label in labels[:4]: store.put(label)
else:
    for label in labels:
        if not store.contains(store.key(label.atoms, label.settings)): store.put(label)
"""


def _start_writer(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(directory), str(Path(__file__).parent), *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


def _put_four(directory: Path) -> None:
    store = LabelStore(directory)
    for seed in (3, 2, 1, 0):
        store.put(labelled(seed))


def test_many_writers_at_once(tmp_path: Path) -> None:
    processes = [_start_writer(tmp_path, "wait") for _ in range(2)]
    threads = [threading.Thread(target=_put_four, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for process in processes:
        process.communicate("now\n")
    for thread in threads:
        thread.join()
    assert [process.returncode for process in processes] == [0, 0]
    store = LabelStore(tmp_path)
    assert len(store) == 4
    assert store.corrupt() == []
    lines = store.computed()
    assert len(lines) == 20
    assert sorted(line.key for line in lines if line.status == "new") == store.keys()


def test_kill_9_at_any_moment_leaves_whole_labels(tmp_path: Path) -> None:
    draw = random.Random(7)
    for _ in range(4):
        process = _start_writer(tmp_path)
        time.sleep(draw.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    store = LabelStore(tmp_path)
    assert store.corrupt() == []
    store.put(labelled(1000))
    lines = store.computed()
    assert sorted(line.key for line in lines) == store.keys()  # each once
    assert not {line.status for line in lines} & {"again"}


def test_a_remembered_label_is_read_once_and_a_changed_file_again(tmp_path: Path) -> None:
    key = LabelStore(tmp_path).put(labelled())
    path = tmp_path / key[:2] / f"{key}.json"
    store = LabelStore(tmp_path, remember=True)
    assert store.get("0" * 64) is None
    first = store.get(key)
    assert first is not None
    known = first.atoms.get_potential_energy()
    first.atoms.calc.results["energy"] += 1.0
    first.atoms.calc.results["forces"] += 1.0
    first.atoms.positions += 1.0
    first.atoms.info["label"] = key
    second, plain = store.get(key), LabelStore(tmp_path).get(key)
    assert second is not None
    assert plain is not None
    assert second.atoms.calc.results["energy"] == known
    for name, value in plain.atoms.calc.results.items():
        np.testing.assert_array_equal(second.atoms.calc.results[name], value)
    np.testing.assert_array_equal(second.atoms.get_forces(), plain.atoms.get_forces())
    np.testing.assert_array_equal(second.atoms.positions, plain.atoms.positions)
    assert second.atoms.info == plain.atoms.info
    path.write_text(path.read_text().replace('"energy"', '"energi"'))
    with pytest.raises(CorruptLabelError):
        store.get(key)
    path.unlink()
    assert store.get(key) is None
