"""What is exported comes back: to other programs, and to a store."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.units import GPa
from typer.testing import CliRunner

from pyacemaker.cli.app import app
from pyacemaker.data.exchange import export, format_of
from pyacemaker.data.importing import import_file, imported_labels
from pyacemaker.data.listing import DataError, Wanted, labels_of, open_store
from pyacemaker.data.reading import Convention
from pyacemaker.data.verify import verify_store
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.base import Label
from pyacemaker.provenance import group_of, tag

runner = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"})
SETTINGS = {"code": "ase", "calculator": "ase.calculators.emt.EMT", "version": "3", "kwargs": {}}


def emt(atoms: Atoms) -> Atoms:
    work = atoms.copy()
    work.calc = EMT()
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=work.get_potential_energy(),
        free_energy=work.get_potential_energy(),
        forces=work.get_forces(),
        **({"stress": work.get_stress()} if atoms.cell.rank == 3 else {}),
    )
    return atoms


def structures(count: int = 6) -> list[Atoms]:
    found = []
    for n in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * (0.98 + 0.01 * n), scale_atoms=True)
        atoms.rattle(0.05, rng=np.random.default_rng(n))
        found.append(emt(tag(atoms, "rattle", f"g{n}")))
    return found


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    found = LabelStore(tmp_path / "campaign" / "labels")
    for atoms in structures():
        found.put(Label(atoms, SETTINGS, {"wall_s": 0.5}))
    found.put(Label(emt(tag(Atoms("Cu"), "isolated", "atom")), SETTINGS))
    return found


@pytest.mark.parametrize("name", ["all.extxyz", "all.db"])
def test_exported_labels_are_restored_under_their_own_keys(
    store: LabelStore, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    assert export(labels_of(store, Wanted()), path, format_of(path)) == 7
    other = LabelStore(tmp_path / "other" / "labels")
    done = import_file(other, path, "back", {}, restore=True)
    assert not done.set_aside
    assert sorted(done.taken) == store.keys() == other.keys()
    for key in done.taken:
        before, after = store.get(key), other.get(key)
        assert before is not None
        assert after is not None
        exact = 0 if name.endswith("db") else 1e-8
        np.testing.assert_allclose(after.atoms.positions, before.atoms.positions, atol=exact)
        forces = before.atoms.get_forces()
        np.testing.assert_allclose(after.atoms.get_forces(), forces, rtol=0, atol=exact)
        assert after.atoms.get_potential_energy() == before.atoms.get_potential_energy()
        assert group_of(after.atoms) == group_of(before.atoms)
        assert dict(after.settings) == dict(before.settings)
    assert import_file(other, path, "back", {}, restore=True).duplicates == 7


def test_a_changed_export_is_not_restored(store: LabelStore, tmp_path: Path) -> None:
    path = tmp_path / "all.db"
    export(labels_of(store, Wanted()), path, "db")
    with connect(path) as database:
        row = database.get(1)
        moved = row.toatoms()
        results = dict(moved.calc.results)
        moved.positions[0, 0] += 0.01
        moved.calc = SinglePointCalculator(moved, **results)
        database.write(moved, id=1, data=row.data)
    done = import_file(LabelStore(tmp_path / "o"), path, "back", {}, restore=True)
    assert len(done.taken) == 6
    assert "was changed" in done.set_aside[0][1]


def test_imported_labels_have_settings_of_their_own_and_no_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "mine.extxyz"
    given = structures()
    for atoms in given:
        atoms.info = {}
    ase.io.write(path, [*given, given[0]])
    store = LabelStore(tmp_path / "labels")
    done = import_file(store, path, "mine", {"functional": "PBE"})
    assert (done.read, len(done.taken), done.duplicates) == (7, 6, 1)
    label = store.get(done.taken[0])
    assert label is not None
    assert label.settings["code"] == "imported"
    assert label.settings["method"] == {"functional": "PBE"}
    assert len(label.settings["source_sha256"]) == 64
    assert group_of(label.atoms) == "imported-mine-Cu"
    # the same structures from another file
    again = tmp_path / "again.db"
    with connect(again) as database:
        for atoms in given[:3]:
            database.write(atoms)
    assert import_file(store, again, "other", {"functional": "PBE"}).duplicates == 3
    assert len(import_file(store, again, "other", {"functional": "LDA"}).taken) == 3
    assert len(imported_labels(store, ["mine"])) == 6


def scan(tmp_path: Path, factor: float) -> Path:
    path = tmp_path / f"scan{factor:g}.extxyz"
    frames = []
    for scale in np.linspace(0.96, 1.04, 6):
        atoms = emt(bulk("Cu", cubic=True, a=3.6 * scale))
        atoms.calc.results["stress"] = factor * atoms.calc.results["stress"]
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


@pytest.mark.parametrize(
    ("factor", "words", "convention"),
    [
        (-1.0, "give --pressure-sign", Convention(pressure_sign=True)),
        (1 / GPa, "give --stress-unit GPa", Convention(stress_unit="GPa")),
        (
            -10 / GPa,
            "give --stress-unit kbar --pressure-sign",
            Convention(stress_unit="kbar", pressure_sign=True),
        ),
    ],
)
def test_a_stress_in_another_convention_is_refused_with_the_remedy(
    tmp_path: Path, factor: float, words: str, convention: Convention
) -> None:
    path = scan(tmp_path, factor)
    store = LabelStore(tmp_path / "labels")
    with pytest.raises(DataError, match=words):
        import_file(store, path, "scan", {})
    assert len(store) == 0
    done = import_file(store, path, "scan", {}, convention)
    assert len(done.taken) == 6
    right = LabelStore(tmp_path / "right")
    import_file(right, scan(tmp_path, 1.0), "scan", {})
    for label, truth in zip(
        sorted(store, key=lambda x: x.atoms.get_volume()),
        sorted(right, key=lambda x: x.atoms.get_volume()),
        strict=True,
    ):
        np.testing.assert_allclose(label.atoms.get_stress(), truth.atoms.get_stress(), atol=1e-7)


def test_a_vasprun_is_imported_with_its_free_energy(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))
    from vasp_files import vasprun

    atoms = bulk("Si", a=5.43)
    forces = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(atoms, -10.5, forces, np.diag([10.0, 20.0, 30.0])))
    store = LabelStore(tmp_path / "labels")
    (key,) = import_file(store, path, "vasp", {"code": "vasp"}).taken
    label = store.get(key)
    assert label is not None
    assert label.atoms.get_potential_energy() == -10.5  # not e_0_energy
    np.testing.assert_allclose(label.atoms.get_forces(), forces)
    np.testing.assert_allclose(label.atoms.get_stress()[:3] / GPa, [-1, -2, -3])


def test_virials_and_own_names_are_read(tmp_path: Path) -> None:
    (atoms,) = structures(1)
    stress = atoms.get_stress(voigt=False)
    bare = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    bare.info = {"REF_energy": atoms.get_potential_energy(), "REF_virial": -stress * 1.0}
    bare.info["REF_virial"] = (-stress * atoms.get_volume()).ravel()
    bare.arrays["REF_forces"] = atoms.get_forces()
    path = tmp_path / "ref.extxyz"
    ase.io.write(path, bare)
    store = LabelStore(tmp_path / "labels")
    assert import_file(store, path, "ref", {}).set_aside[0][1].endswith("--energy-key")
    names = Convention(energy_key="REF_energy", forces_key="REF_forces", virial_key="REF_virial")
    done = import_file(store, path, "ref", {}, names)
    label = store.get(done.taken[0])
    assert label is not None
    np.testing.assert_allclose(label.atoms.get_stress(), atoms.get_stress(), atol=1e-7)


def test_outliers_are_set_aside_and_a_missing_stress_is_remarked(tmp_path: Path) -> None:
    given = structures(12)
    given[3].calc.results["energy"] += 40.0
    given[3].calc.results.pop("free_energy")
    given[5].calc.results["forces"] = given[5].calc.results["forces"] + 0.5
    for atoms in given:
        atoms.info = {}
    given[7].calc.results.pop("stress")
    path = tmp_path / "odd.extxyz"
    ase.io.write(path, given)
    store = LabelStore(tmp_path / "labels")
    done = import_file(store, path, "odd", {}, dry_run=True)
    assert len(store) == 0
    assert [place for place, _ in done.set_aside] == [4, 6]
    assert "energy outlier" in done.set_aside[0][1]
    assert "force sum" in done.set_aside[1][1]
    assert "1 of 12" in done.remarks[0]
    assert len(import_file(store, path, "odd", {}, keep_outliers=True).taken) == 12


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("ran"),))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["data.pckl.gzip", "data.extxyz"])
def test_a_pickle_is_never_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Runs()))
    with pytest.raises(DataError, match="is a pickle"):
        import_file(LabelStore(tmp_path / "labels"), path, "x", {})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"3\nLattice=\nCu 0 0", b"{}", b"nan\n\n"])
@pytest.mark.parametrize("name", ["a.extxyz", "a.db", "vasprun.xml", "OUTCAR", "a.what"])
def test_files_that_are_none_are_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        import_file(LabelStore(tmp_path / "labels"), path, "x", {})
    assert "\n" not in str(caught.value)


def test_check_names_what_is_damaged_and_what_is_wrong(store: LabelStore) -> None:
    assert verify_store(store).findings == ()
    (first, second, *_) = store.keys()
    path = store.directory / first[:2] / f"{first}.json"
    path.write_text(path.read_text().replace('"energy"', '"enemy"', 1))
    other = store.directory / second[:2] / f"{second}.json"
    third = store.directory / "00" / f"{'0' * 64}.json"
    third.parent.mkdir(exist_ok=True)
    third.write_text(other.read_text())
    kinds = sorted(finding.kind for finding in verify_store(store).findings)
    assert kinds == ["corrupt", "corrupt"]
    done = runner.invoke(app, ["data", "check", str(store.directory.parent), "--json"])
    assert done.exit_code == 1
    assert len(json.loads(done.output)["problems"]) == 2


def test_commands(store: LabelStore, tmp_path: Path) -> None:
    campaign = str(store.directory.parent)
    listed = runner.invoke(app, ["data", "ls", campaign, "--json", "-g", "rattle"])
    rows = json.loads(listed.output)
    assert len(rows) == 6
    assert "7 labels" in runner.invoke(app, ["data", "ls", campaign]).output
    assert "0 labels" in runner.invoke(app, ["data", "ls", campaign, "-e", "Au"]).output
    assert len(json.loads(runner.invoke(
        app, ["data", "ls", campaign, "--json", "-s", "code=ase"]).output)) == 7  # fmt: skip
    shown = runner.invoke(app, ["data", "show", campaign, rows[0]["key"][:10]])
    assert rows[0]["key"] in shown.output
    assert "GPa" in shown.output
    assert runner.invoke(app, ["data", "show", campaign, "ffff0000ffff"]).exit_code == 2
    target = tmp_path / "out.extxyz"
    assert runner.invoke(app, ["data", "export", campaign, str(target)]).exit_code == 0
    assert runner.invoke(app, ["data", "export", campaign, str(target)]).exit_code == 2
    assert runner.invoke(app, ["data", "check", campaign]).exit_code == 0
    new = tmp_path / "new"
    done = runner.invoke(
        app, ["data", "import", str(new), str(target), "--name", "emt", "--settings", "{}"]
    )
    assert done.exit_code == 0, done.output
    assert "oracle: {imported: [emt]}" in done.output
    assert len(open_store(new)) == 7
    assert runner.invoke(app, ["data", "ls", str(tmp_path / "nothing")]).exit_code == 2


@pytest.mark.real
def test_pacemaker_reads_its_table(store: LabelStore, tmp_path: Path) -> None:
    import pandas as pd
    from pyace.preparedata import load_dataframe

    path = tmp_path / "train.pckl.gzip"
    assert export(labels_of(store, Wanted()), path, "pacemaker") == 7
    table = load_dataframe(str(path), compression="gzip")
    assert isinstance(table, pd.DataFrame)
    assert {"ase_atoms", "energy", "forces", "energy_corrected", "label_key"} <= set(table.columns)
    for _, row in table.iterrows():
        label = store.get(row["label_key"])
        assert label is not None
        assert row["energy"] == label.atoms.get_potential_energy()
        assert np.array_equal(row["forces"], label.atoms.get_forces())
        assert np.array_equal(row["ase_atoms"].positions, label.atoms.positions)
    assert table["energy_corrected"].abs().min() < 1e-9  # the isolated atom's own


def test_labels_without_a_common_zero_are_no_table(store: LabelStore, tmp_path: Path) -> None:
    (atoms,) = structures(1)
    store.put(Label(atoms, {**SETTINGS, "calculator": "another"}))
    with pytest.raises(DataError, match="--setting"):
        export(labels_of(store, Wanted()), tmp_path / "t.pckl.gzip", "pacemaker")
