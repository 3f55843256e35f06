from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pyace import PyACECalculator

from pyacemaker.potential import Potential, PotentialError, write_potential
from pyacemaker.potential.manifest import FILES, MANIFEST


@pytest.fixture
def copy(copper, tmp_path):
    return shutil.copytree(copper.potential, tmp_path / "copy")


def test_manifest_says_what_it_is(copper):
    manifest = Potential.load(copper.potential).manifest
    assert manifest.elements == ("Cu",)
    assert manifest.cutoff_A == pytest.approx(5.9)
    assert manifest.reference_energies_eV["Cu"] == pytest.approx(3.51)
    assert manifest.zbl().pairs[0].elements == ("Cu", "Cu")
    assert manifest.fit["kind"] == "linear"
    assert set(manifest.made_with) == {"pyacemaker", "python-ace"}


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_named(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(PotentialError, match=f"{name} is broken"):
        Potential.load(copy)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(PotentialError, match=f"{name} is missing"):
        Potential.load(copy)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace("3.51", "3.52"), "own checksum"),
        (lambda text: text[: len(text) // 2], "not a potential's manifest"),
        (lambda text: "[]", "not a potential's manifest"),
        (lambda text: "", "not a potential's manifest"),
    ],
)
def test_a_changed_manifest_is_caught(copy, damage, said):
    path = copy / MANIFEST
    path.write_text(damage(path.read_text()))
    with pytest.raises(PotentialError, match=said):
        Potential.load(copy)


def test_no_such_directory(tmp_path):
    with pytest.raises(PotentialError, match=r"nowhere/potential.json is missing"):
        Potential.load(tmp_path / "nowhere")


def test_it_can_be_moved(copper, copy, copper_sets):
    atoms = [copper_sets[1][0].copy() for _ in range(2)]
    for a, where in zip(atoms, (copper.potential, copy), strict=True):
        a.calc = Potential.load(where).calculator()
    assert atoms[0].get_potential_energy() == atoms[1].get_potential_energy()


def test_yace_carries_the_reference_energies(alloy, alloy_sets):
    potential = Potential.load(alloy.potential)
    atoms = alloy_sets[1][0].copy()
    atoms.calc = potential.calculator()
    hybrid = atoms.get_potential_energy()
    atoms.calc = PyACECalculator(str(alloy.potential / "potential.yace"))
    baseline = potential.manifest.zbl().compute(atoms).energy
    assert atoms.get_potential_energy() + baseline == pytest.approx(hybrid, abs=1e-7)


def test_rewriting_replaces_and_failing_leaves_the_old(copper, copy):
    before = Potential.load(copy).manifest
    arguments = {
        "basis": PyACECalculator(str(copper.potential / "potential.yaml")).basis,
        "active_set_inverse": dict(np.load(copper.potential / "potential.asi")),
        "baseline": before.zbl(),
        "fit": {"kind": "again"},
    }
    with pytest.raises(PotentialError, match="no isolated-atom energy for Cu"):
        write_potential(copy, reference_energies={}, **arguments)
    with pytest.raises(PotentialError, match="not finite"):
        write_potential(copy, reference_energies={"Cu": np.nan}, **arguments)
    assert Potential.load(copy).manifest == before
    write_potential(copy, reference_energies={"Cu": 1.0}, **arguments)
    assert Potential.load(copy).manifest.fit == {"kind": "again"}
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_reference_energy(alloy, alloy_sets):
    potential = Potential.load(alloy.potential)
    atoms = alloy_sets[1][0]
    reference = json.loads((alloy.potential / MANIFEST).read_text())["reference_energies_eV"]
    assert potential.reference_energy(atoms) == pytest.approx(
        sum(reference[s] for s in atoms.symbols)
    )
