"""Every value is decided, says why, and gives way to the user's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.config.load import ConfigError, parse_config
from pyacemaker.config.models import Config
from pyacemaker.config.resolve import Resolved, resolve
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.config.show import format_resolved
from pyacemaker.config.structure import PROTOTYPES
from pyacemaker.provenance import provenance_of

EMT = "oracle: {calculator: ase.calculators.emt.EMT}\n"


def resolved(text: str, base: Path | None = None) -> Resolved:
    return resolve(parse_config(text, "c.yaml"), base)


def refusal(text: str, base: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(text, base)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_silicon_from_its_name_alone() -> None:
    found = resolved("elements: [Si]")
    settings_ = found.settings
    assert settings_.oracle.code == "espresso"
    assert settings_.dynamics.temperatures_K == (510.0, 1010.0, 1520.0)
    assert settings_.dynamics.steps == 10_000
    assert settings_.seed == 1
    atoms = settings_.structure.atoms()
    assert atoms.get_chemical_symbols() == ["Si", "Si"]
    assert atoms.get_volume() == pytest.approx(5.43**3 / 4)


def test_every_entry_explains_itself_once() -> None:
    for text in ("elements: [Si]", "elements: [Fe]", f"elements: [Cu]\n{EMT}"):
        found = resolved(text)
        keys = [entry.key for entry in found.entries]
        assert len(set(keys)) == len(keys)
        for entry in found.entries:
            assert len(entry.explanation) > 5, entry
            assert entry.kind in {"user", "physics", "default"}
        for row in format_resolved(found):
            assert row.value
            assert row.source


def test_entries_tell_the_settings_own_values() -> None:
    found = resolved("elements: [Ti, O]\n")
    for entry in found.entries:
        section, _, key = entry.key.rpartition(".")
        for part in {"oracle": ["oracle"], "trainer": ["trainer"], "dynamics": ["dynamics"]}.get(
            section, []
        ):
            if key not in {"metallic", "imported"}:
                assert getattr(getattr(found.settings, part), key) == entry.value, entry


def test_the_user_wins_and_is_marked_with_the_line() -> None:
    text = (
        "elements: [Si]\ntemperatures_K: [900, 300]\noracle:\n  ecutwfc_Ry: 55\n"
        "  metallic: true\ndynamics:\n  pressure_GPa: null\nbudget:\n  labels: 7\nworkers: 3\n"
    )
    found = resolved(text)
    assert found.settings.dynamics.temperatures_K == (300.0, 900.0)
    assert found.settings.oracle.ecutwfc_Ry == 55
    assert found.settings.dynamics.pressure_GPa is None
    assert found.settings.budget.labels == 7
    lines = {entry.key: entry.source for entry in found.entries if entry.kind == "user"}
    assert lines == {
        "elements": "c.yaml:1",
        "temperatures_K": "c.yaml:2",
        "oracle.ecutwfc_Ry": "c.yaml:4",
        "oracle.metallic": "c.yaml:5",
        "dynamics.pressure_GPa": "c.yaml:7",
        "budget.labels": "c.yaml:9",
        "workers": "c.yaml:10",
    }
    # what follows from a value given follows from that value
    assert (
        found.settings.oracle.kspacing_per_A
        == resolved("elements: [Cu]").settings.oracle.kspacing_per_A
    )


def test_made_in_python_without_a_file() -> None:
    found = resolve(Config(elements=["Cu"], temperatures_K=300, oracle={"calculator": "a.b.C"}))
    assert found.entry("temperatures_K").source == "given"
    assert found.settings.oracle.code == "ase"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "dynamics:\n  gamma_halt: 5\n  gamma_select: 6",
            "c.yaml:3: key 'dynamics.gamma_halt': gamma_halt",
        ),
        ("oracle:\n  code: ase", "key 'oracle.calculator': is required"),
        ("oracle:\n  code: ase\n  ecutwfc_Ry: 40", "c.yaml:4: key 'oracle.ecutwfc_Ry': belongs to"),
        ("oracle:\n  code: espresso\n  calculator: a.B", "c.yaml:4: key 'oracle.calculator': belo"),
        ("budget:\n  labels: 5\n  initial_labels: 9", "c.yaml:4: key 'budget.initial_labels'"),
        ("validation:\n  reference: {B1_GPa: 3}", "did you mean B0_GPa"),
        ("structure: dimond", "c.yaml:2: key 'structure': .*did you mean 'diamond'"),
        ("structure: rocksalt", "takes 2 elements"),
        ("structure: si.cif", "there is no file 'si.cif'"),
    ],
)
def test_values_that_do_not_go_together(text: str, expected: str) -> None:
    import re

    assert re.search(expected, refusal(f"elements: [Si]\n{text}\n"))


def test_one_gamma_threshold_moves_the_other() -> None:
    low = resolved("elements: [Si]\ndynamics: {gamma_halt: 1.5}").settings.dynamics
    assert 1 <= low.gamma_select < 1.5
    high = resolved("elements: [Si]\ndynamics: {gamma_select: 20}").settings.dynamics
    assert high.gamma_halt > 20


def test_settings_survive_json_and_have_one_digest() -> None:
    found = resolved("elements: [Ti, O]\nworkers: 2\n").settings
    again = CampaignSettings.from_json(found.to_json())
    assert again == found
    assert again.digest() == found.digest()
    assert json.loads(found.to_json())["elements"] == ["Ti", "O"]
    turned = found.model_copy(update={"elements": ("O", "Ti")})
    assert turned.digest() == found.digest()
    more = resolved("elements: [Ti, O]\nworkers: 1\nbudget: {labels: 500, hours: 2}\n").settings
    assert more.digest() != found.digest()
    assert more.science_digest() == found.science_digest()
    other = resolved("elements: [Ti, O]\nworkers: 2\nseed: 2\n").settings
    assert other.science_digest() != found.science_digest()


def test_structure_from_a_file(tmp_path: Path) -> None:
    write(tmp_path / "POSCAR", bulk("NaCl", "rocksalt", a=5.7))
    write(tmp_path / "si.cif", bulk("Si"))
    write(tmp_path / "water.xyz", molecule("H2O"))
    (tmp_path / "bad.cif").write_text("nothing")
    (tmp_path / "notes.qqq").write_text("nothing")
    (tmp_path / "fcc").mkdir()
    found = resolved("elements: [Na, Cl]\nstructure: POSCAR\n", tmp_path)
    atoms = found.settings.structure.atoms()
    assert atoms.get_volume() == pytest.approx(5.7**3 / 4)
    assert np.allclose(atoms.positions[1] - atoms.positions[0], [2.85, 0, 0], atol=1e-6)
    assert found.entry("structure").source == "c.yaml:2"
    assert "Si" in refusal("elements: [Na, Cl]\nstructure: si.cif\n", tmp_path)
    assert "not a crystal" in refusal("elements: [H, O]\nstructure: water.xyz\n", tmp_path)
    assert "cannot read" in refusal("elements: [Si]\nstructure: bad.cif\n", tmp_path)
    assert "c.yaml:2: key 'structure'" in refusal("elements: [Si]\nstructure: notes.qqq", tmp_path)
    assert (
        resolved("elements: [Cu]\nstructure: fcc\n", tmp_path).settings.structure.kind
        == "prototype"
    )


@pytest.mark.parametrize(
    ("elements", "name", "volume"),
    [
        ("Na, Cl", "rocksalt", 5.64**3 / 8),
        ("Mg, O", "rocksalt", 4.21**3 / 8),
        ("Ga, As", "zincblende", 5.65**3 / 8),
        ("Cs, Cl", "cesiumchloride", 4.12**3 / 2),
        ("Ca, F", "fluorite", 5.46**3 / 12),
        ("Li, O", "fluorite", 4.62**3 / 12),
        ("Ti, O", "rutile", 62.4 / 6),
        ("Si", "diamond", 5.43**3 / 8),
        ("Fe", "fcc", 3.57**3 / 4),
        ("Al", "bcc", 3.24**3 / 2),
    ],
)
def test_prototypes_have_sensible_volumes(elements: str, name: str, volume: float) -> None:
    atoms = resolved(f"elements: [{elements}]\nstructure: {name}").settings.structure.atoms()
    assert atoms.get_volume() / len(atoms) == pytest.approx(volume, rel=0.15)
    if elements == "Li, O":
        assert atoms.get_chemical_formula(empirical=True) == "Li2O"


def test_every_prototype_builds() -> None:
    for name in PROTOTYPES:
        for elements in ("Cu", "Zn, O", "Sr, Ti, O"):
            try:
                found = resolved(f"elements: [{elements}]\nstructure: {name}")
            except ConfigError as error:
                assert "takes" in str(error)
            else:
                atoms = found.settings.structure.atoms()
                assert provenance_of(atoms)["group"]
                assert atoms.pbc.all()


def test_structure_by_formula_and_by_the_elements() -> None:
    both = resolved("elements: [Ti, O]\nstructure: anatase TiO2").settings.structure.atoms()
    assert both.get_chemical_formula(empirical=True) in {"TiO2", "O2Ti"}
    found = resolved("elements: [Na, Cl]")
    assert found.settings.structure.kind == "reference"
    assert found.settings.structure.atoms().get_volume() == pytest.approx(5.64**3 / 4, rel=0.03)
    assert "rocksalt NaCl" in found.entry("structure").explanation
    assert "(TiO2: mean" in resolved("elements: [Ti, O]").entry("temperatures_K").explanation


@given(
    st.lists(st.sampled_from(["Si", "Cu", "O", "Fe", "N", "Y", "No"]), min_size=1, unique=True),
    st.lists(st.floats(1, 5000), max_size=4, unique=True),
    st.integers(0, 2**32 - 1),
    st.one_of(st.none(), st.floats(0.01, 1000)),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(
    elements: list[str], temperatures: list[float], seed: int, hours: float | None
) -> None:
    text = f"elements: [{', '.join(elements)}]\nseed: {seed}\n"
    if temperatures:
        text += f"temperatures_K: [{', '.join(map(repr, temperatures))}]\n"
    if hours is not None:
        text += f"budget: {{hours: {hours!r}}}\n"
    config = parse_config(text)
    assert config.elements == elements
    assert config.seed == seed
    assert config.temperatures_K == (temperatures or None)
    assert config.budget.hours == hours  # type: ignore[attr-defined]
    again = Config.model_validate_json(config.model_dump_json(exclude_unset=True))
    assert again.model_dump() == config.model_dump()


def test_a_walk_from_a_structure_that_cannot_be_walked_from_is_refused(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    write(tmp_path / "free.traj", atoms)
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    write(tmp_path / "held.traj", atoms)
    text = "elements: [H, O]\ndynamics: kmc\nkmc: {structure: %s}\n"
    assert "nothing keeps it from turning" in refusal(text % "free.traj", tmp_path)
    assert "every atom is held" in refusal(text % "held.traj", tmp_path)
