"""Structures come back from disk bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pyacemaker.provenance import group_of, provenance_of, tag
from pyacemaker.structures import CorruptFileError, read_structures, write_structures


def _example() -> Atoms:
    atoms = bulk("Si", a=5.43) * (2, 1, 1)
    rng = np.random.default_rng(3)
    atoms.rattle(0.1, rng=rng)
    atoms.set_momenta(rng.normal(size=(4, 3)))
    atoms.set_array("gamma", rng.random(4))
    return tag(atoms, "rattle", "rattle-3", sigma_A=0.1, nested={"a": [1, 2.5, None]})


def test_round_trip_is_exact(tmp_path: Path) -> None:
    atoms = _example()
    checksum = write_structures(tmp_path / "s.json", [atoms, atoms])
    back = read_structures(tmp_path / "s.json", checksum)[1]
    assert np.array_equal(back.positions, atoms.positions)
    assert np.array_equal(back.cell.array, atoms.cell.array)
    assert np.array_equal(back.get_momenta(), atoms.get_momenta())
    assert np.array_equal(back.get_array("gamma"), atoms.get_array("gamma"))
    assert back.pbc.tolist() == atoms.pbc.tolist()
    assert provenance_of(back) == provenance_of(atoms)
    assert group_of(back) == "rattle-3"


def test_none_is_a_list_too(tmp_path: Path) -> None:
    checksum = write_structures(tmp_path / "s.json", [])
    assert read_structures(tmp_path / "s.json", checksum) == []


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    checksum = write_structures(path, [_example()])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"s\.json.*checksum"):
        read_structures(path, checksum)


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 1}', "[{"])
def test_what_is_no_list_of_structures_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(CorruptFileError, match=r"s\.json"):
        read_structures(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="gone"):
        read_structures(tmp_path / "gone.json")


def test_untagged_structures_have_no_provenance() -> None:
    with pytest.raises(KeyError):
        provenance_of(bulk("Si"))
    atoms = bulk("Si")
    atoms.info["provenance"] = "text"
    with pytest.raises(TypeError, match="str"):
        provenance_of(atoms)
