from __future__ import annotations

from pathlib import Path

import pytest

from pyacemaker.oracle.upf import PseudopotentialError, functional_name, read_upf


def put(folder: Path, text: str, name: str = "x.upf") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_oncv_file(tmp_path: Path, upf_texts: dict[str, str]) -> None:
    upf = read_upf(put(tmp_path, upf_texts["oncv"].format(functional="PBE", coupling="0.0")))
    assert (upf.element, upf.kind, upf.functional, upf.valence) == ("Si", "NC", "PBE", 4)
    assert upf.ecutwfc_hint_Ry == pytest.approx(6.4**2)  # not 15.09, which is a radius
    assert upf.ecutrho_hint_Ry == pytest.approx(4 * 6.4**2)


def test_paw_file_with_its_own_hints(tmp_path: Path, upf_texts: dict[str, str]) -> None:
    upf = read_upf(put(tmp_path, upf_texts["pslibrary"]))
    assert (upf.element, upf.kind, upf.functional, upf.valence) == ("Fe", "PAW", "PBE", 16)
    assert (upf.ecutwfc_hint_Ry, upf.ecutrho_hint_Ry) == (71, 429)
    assert upf.least_dual == 8


def test_first_version_of_the_format(tmp_path: Path, upf_texts: dict[str, str]) -> None:
    upf = read_upf(put(tmp_path, upf_texts["first"]))
    assert (upf.element, upf.kind, upf.functional, upf.valence) == ("Cu", "US", "PBE", 19)
    assert (upf.ecutwfc_hint_Ry, upf.ecutrho_hint_Ry) == (40, 200)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("PBE", "PBE"),
        ("SLA  PW   PBE  PBE", "PBE"),
        ("SLA-PW-PBX-PBC", "PBE"),
        ("PBESOL", "PBEsol"),
        ("SLA PW PSX PSC", "PBEsol"),
        ("SLA  PW   NOGX NOGC", "LDA"),
        ("PZ", "LDA"),
        ("PBE0", "PBE0"),
        ("SCAN", "SCAN"),
    ],
)
def test_functionals_have_many_names(written: str, name: str) -> None:
    assert functional_name(written) == name


@pytest.mark.parametrize(
    ("which", "length"), [("oncv", 0), ("oncv", 500), ("pslibrary", 150), ("first", 200)]
)
def test_damaged_files_are_named(
    tmp_path: Path, upf_texts: dict[str, str], which: str, length: int
) -> None:
    with pytest.raises(PseudopotentialError, match=r"x\.upf is damaged or no UPF"):
        read_upf(put(tmp_path, upf_texts[which][:length]))


def test_unknown_kinds_are_refused(tmp_path: Path, upf_texts: dict[str, str]) -> None:
    text = upf_texts["pslibrary"].replace('"PAW"', '"GIPAW"')
    with pytest.raises(PseudopotentialError, match="type GIPAW is not supported"):
        read_upf(put(tmp_path, text))
