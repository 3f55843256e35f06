from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io.espresso import read_espresso_in, read_fortran_namelist

from pyacemaker.oracle.espresso.kmesh import boxed
from pyacemaker.oracle.espresso.pw_input import corrections_of, electrons_of, write_input
from pyacemaker.oracle.settings import EspressoSettings
from pyacemaker.oracle.upf import UPF


def upf(element: str) -> UPF:
    return UPF(Path(f"{element}.upf"), f"sum-{element}", element, "NC", "PBE", 4, 30, 120)


def written(atoms: Atoms, mesh: tuple[int, int, int] = (3, 3, 2), **changes: object) -> str:
    settings = EspressoSettings(**{"ecutwfc_Ry": 30, "ecutrho_Ry": 120, **changes})  # type: ignore[arg-type]
    found = {symbol: upf(symbol) for symbol in set(atoms.get_chemical_symbols())}
    return write_input(boxed(atoms), mesh, settings, found, electrons_of(settings, len(atoms)))


def test_ase_reads_the_structure_back() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=3)
    text = written(atoms)
    back = read_espresso_in(io.StringIO(text))
    assert back.get_chemical_symbols() == ["Na", "Cl"]
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(back.cell.array, boxed(atoms).cell.array, atol=1e-10)
    data, _ = read_fortran_namelist(io.StringIO(text))
    assert data["system"]["ecutwfc"] == 30
    assert data["system"]["smearing"] == "mv"
    assert data["electrons"]["conv_thr"] == 2e-8  # per atom
    assert data["control"]["tstress"] is True
    assert data["control"]["tprnfor"] is True
    assert "nspin" not in data["system"]
    assert "K_POINTS automatic\n  3 3 2 0 0 0" in text
    assert "! pseudopotential Na sha256 sum-Na" in text


def test_two_spins_start_as_told() -> None:
    atoms = bulk("CuO", "rocksalt", a=4.2)
    text = written(atoms, nspin=2, starting_magnetization={"Cu": 0.3})
    data, _ = read_fortran_namelist(io.StringIO(text))
    assert data["system"]["nspin"] == 2
    assert "starting_magnetization(1) = 0.3" in text  # Cu is the first species
    assert "starting_magnetization(2) = 0\n" in text


def test_fixed_occupations_and_gamma() -> None:
    text = written(bulk("Si"), (1, 1, 1), smearing="none")
    assert "occupations = 'fixed'" in text
    assert "degauss" not in text
    assert "K_POINTS gamma" in text


def test_no_path_is_in_the_input() -> None:
    assert "/" not in written(bulk("Si")).replace("./", "").replace("\n/\n", "\n")


def test_the_command_changes_nothing() -> None:
    assert written(bulk("Si")) == written(bulk("Si"), command="mpirun pw.x", threads=4)


@pytest.mark.parametrize(
    ("vdw", "expected"),
    [
        ("d3", {"vdw_corr": "dft-d3", "dftd3_version": 3}),
        ("d3bj", {"vdw_corr": "dft-d3", "dftd3_version": 4}),
        ("ts", {"vdw_corr": "ts-vdw"}),
        ("mbd", {"vdw_corr": "mbd_vdw"}),
        ("d2", {"vdw_corr": "dft-d"}),
    ],
)
def test_dispersion_is_written(vdw: str, expected: dict[str, object]) -> None:
    data, _ = read_fortran_namelist(io.StringIO(written(bulk("Si"), vdw=vdw)))
    assert {key: data["system"][key] for key in expected} == expected
    assert "vdw" not in written(bulk("Si"))


def test_hubbard_card_names_what_is_there() -> None:
    text = written(bulk("FeO", "rocksalt", a=4.3), hubbard_U_eV={"Fe-3d": 4.0, "Ni-3d": 6.0})
    assert "HUBBARD {ortho-atomic}\n  U Fe-3d 4\n" in text
    assert "Ni" not in text
    assert "HUBBARD" not in written(bulk("FeO", "rocksalt", a=4.3))


def test_corrections_are_part_of_the_settings() -> None:
    settings = EspressoSettings(
        ecutwfc_Ry=30, ecutrho_Ry=120, vdw="d3", hubbard_U_eV={"Fe-3d": 4.0}
    )
    assert corrections_of(settings, bulk("Si")) == {"vdw": "d3"}
    assert corrections_of(settings, bulk("Fe"))["hubbard_U_eV"] == {"Fe-3d": 4.0}
    plain = EspressoSettings(ecutwfc_Ry=30, ecutrho_Ry=120)
    assert corrections_of(plain, bulk("Fe")) == {}  # keys of labels made before stay as they were


def test_no_manifold_is_refused() -> None:
    with pytest.raises(ValueError, match="Fe-3d"):
        EspressoSettings(ecutwfc_Ry=30, ecutrho_Ry=120, hubbard_U_eV={"Fe": 4.0})
