"""Every mistake a user can make in the file comes back with its line, its key and a remedy."""

from __future__ import annotations

import os
import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pyacemaker.config.load import ConfigError, load_config, parse_config
from pyacemaker.config.models import sections, valid_paths
from pyacemaker.config.nearest import SYMBOLS, nearest_symbol


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    assert all(re.match(r"c\.yaml:\d+: ", line) for line in lines), lines
    return lines


def test_smallest_file(tmp_path: Path) -> None:
    path = tmp_path / "silicon.yaml"
    path.write_text("elements: [Si]\n")
    config = load_config(path)
    assert config.elements == ["Si"]
    assert config.origin is not None
    assert config.origin.line_of(("elements",)) == 1


def test_unknown_key_names_file_line_and_nearest_key() -> None:
    assert errors("elements: [Si]\n\ntemperatur: [300]\n") == [
        "c.yaml:3: key 'temperatur': unknown key; did you mean 'temperatures_K'?"
    ]


def test_all_mistakes_at_once_in_the_order_of_lines() -> None:
    found = errors(
        "elements: [Si]\nseed: -1\noracle:\n  kspacing: 0.2\n  degauss_Ry: -1\nworkers: 0\n"
    )
    assert [int(line.split(":")[1]) for line in found] == [2, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("elements: [No, Y, N]", ["No", "Y", "N"]),
        ("elements: [n]", "did you mean 'N'"),
        ("elements: No", ["No"]),
        ("elements: Y", ["Y"]),
        ("elements: Si", ["Si"]),
        ("elements: Ti O", ["Ti", "O"]),
        ("elements: Ti, O", ["Ti", "O"]),
        ("elements:\n- Ti\n- O\n", ["Ti", "O"]),
        ("elements: ['Si']", ["Si"]),
        ("\ufeffelements: [Si]\r\n", ["Si"]),
        ("---\nelements: [Si]\n...\n", ["Si"]),
        ("elements: TiO2", r"formula; name its elements: \[Ti, O\]"),
        ("elements: [TiO]", r"formula; name its elements: \[Ti, O\]"),
        ("elements: [si]", "did you mean 'Si'"),
        ("elements: [silicon]", "did you mean 'Si'"),
        ("elements: [Silicn]", "did you mean 'Si'"),
        ("elements: [X]", "'X' is not an element"),
        ("elements: [D]", "did you mean 'H'"),
        ("elements: [Si, Si]", "Si is given more than once"),
        ("elements: []", "is empty"),
        ("elements: ''", "must be a list"),
        ("elements:", "must be a list"),
        ("elements: {Si: 1}", "must be a list"),
        ("elements: 14", "must be a list"),
        ("elements: [14]", "must be text"),
        ("elements: [[Si]]", "must be text"),
        ("elements: true", "must be a list"),
        ("seed: 1", "key 'elements': is required"),
    ],
)
def test_elements(text: str, expected: list[str] | str) -> None:
    if isinstance(expected, list):
        assert parse_config(text).elements == expected
    else:
        (line,) = errors(text)
        assert re.search(expected, line), line


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("temperatures_K: [300, -5]", 2, r"temperatures_K\[1\]': must be greater than 0 K, not -5"),
        ("temperatures_K: 0", 2, "greater than 0 K"),
        ("temperatures_K: []", 2, "is empty"),
        ("temperatures_K: [300, 300.0]", 2, "300 K is given more than once"),
        ("temperatures_K: [300 K]", 2, "must be a number .in K., not text '300 K'; write 300"),
        ("temperatures_K: ['300']", 2, "write 300"),
        ("temperatures_K: [.nan]", 2, "finite"),
        ("temperatures_K: .inf", 2, "finite"),
        ("temperatures_K: [true]", 2, "must be a number"),
        ("temperatures_K: {low: 300}", 2, "must be a list"),
        ("budget: {labels: 0}", 2, "labels': must be at least 1"),
        ("budget:\n  labels: 2.5", 3, "whole number"),
        ("budget:\n  hours: 0", 3, "greater than 0"),
        ("seed: -1", 2, "at least 0"),
        ("seed: 99999999999999999999", 2, "less than"),
        ("seed: true", 2, "whole number, not true"),
        ("workers: 0", 2, "at least 1"),
        ("structure: 5", 2, "must be text"),
        ("structure: ''", 2, "must not be empty"),
        ("dynamics: fast", 2, "must be one of md, kmc"),
        ("dynamics: 3", 2, "must be a section"),
        ("dynamics: [1]", 2, "must be one of md, kmc"),
        ("dynamics: [kmc, kmc]", 2, "names kmc twice"),
        ("dynamics:\n  explorers: [md, kmc, md]", 3, "names md twice"),
        ("generator: {foundation: [chgnet, chgnet]}", 2, "names chgnet twice"),
        ("dynamics:\n  engine: lamps", 3, "did you mean 'lammps'"),
        ("dynamics:\n  timestep_fs: 1 fs", 3, "in fs.*write 1"),
        ("trainer:\n  fit: linaer", 3, "did you mean 'linear'"),
        ("oracle:\n  metallic: maybe", 3, "true or false"),
        ("oracle:\n  code: castep", 3, "one of espresso, vasp, gpaw, rootstock, ase"),
        ("ecutwfc_Ry: 40", 2, r"did you mean 'oracle.ecutwfc_Ry' \(in section 'oracle'\)"),
        ("dynamics:\n  temperatures_K: [1]", 3, "'temperatures_K' .at the top level."),
        ("species: [Si]", 2, "did you mean 'elements'"),
        ("zzzzqqq: 1", 2, "unknown key; valid here: budget, compositions, dynamics"),
        ("1: 2", 2, "key '1': unknown key"),
        ("seed: 1\nseed: 2", 3, r"given twice \(first on line 2\)"),
        ("budget: {labels: 3, labels: 3}", 2, "'budget.labels': is given twice"),
        ("<<: {seed: 1}", 2, "unknown key"),
        ("seed: 0b11", 2, "whole number"),
        ("seed: 1_000", 2, "whole number"),
        ("seed: 2001-01-01", 2, "whole number"),
        ("seed: 1:30", 2, "whole number"),
    ],
)
def test_bad_values(text: str, line: int, expected: str) -> None:
    found = errors(f"elements: [Si]\n{text}\n")
    assert len(found) == 1, found
    assert found[0].startswith(f"c.yaml:{line}: key '"), found
    assert re.search(expected, found[0]), found


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "empty.*elements"),
        ("# only a comment\n", 1, "empty"),
        ("null", 1, "empty"),
        ("- Si\n", 1, "expected `key: value`"),
        ("Si", 1, "expected `key: value`"),
        ("elements: [Si\nseed: 1\n", 2, "bracket"),
        ("elements: [Si]\n\tseed: 1\n", 2, "tab"),
        ("oracle:\n\tcode: ase\n", 2, "tab"),
        ("elements: [Si]\n seed: 1\n", 2, ""),
        ("elements: [Si]\nseed 1\nworkers: 1\n", 2, "without ':'"),
        ("elements: [Si]\n---\nseed: 1\n", 2, "second document"),
        ("elements: &e [Si]\nstructure: *e\n", 2, "aliases"),
        ("elements: !!python/object/apply:os.system ['true']\n", 1, "tag"),
        ("elements: !mine [Si]\n", 1, "tag"),
        ("seed: !!int abc\n", 1, "not a int"),
        ("? [a, b]\n: 1\n", 1, "a key must be a word"),
        ("elements: [Si]\nseed: \x07\n", 2, "not allowed"),
        ("a: " + "[" * 500 + "]" * 500, 1, "deep"),
        ("elements: 'Si\n", None, ""),
        ("seed: " + "9" * 6000, 1, "is not a int"),
    ],
)
def test_not_even_yaml(text: str, line: int | None, expected: str) -> None:
    (found,) = errors(text)
    if line is not None:
        assert found.startswith(f"c.yaml:{line}: "), found
    assert re.search(expected, found), found


def test_alias_bomb_costs_nothing() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for here, before in zip("bcdefghij", "abcdefghi", strict=True):
        text += f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]\n"
    (found,) = errors(text)
    assert found.startswith("c.yaml:2: '*a': aliases")


def test_a_file_that_is_no_configuration_is_told_in_a_few_lines() -> None:
    found = errors("elements: [Si]\n" + "".join(f"key{number}: 1\n" for number in range(3_000)))
    assert len(found) < 60
    assert "or more problems from here on" in found[-1]
    (line,) = errors(f"elements: [Si]\ntemperatures_K: [{', '.join(['1'] * 10_000)}]")
    assert "more than 100 values" in line


def test_control_characters_stay_on_one_line() -> None:
    assert errors('elements: [Si]\n"a\\nb\\e": 1\n')[0].startswith(r"c.yaml:2: key 'a\nb\x1b'")
    assert "surrogate" in errors('elements: ["\\ud800"]')[0]


def test_numbers_in_every_spelling() -> None:
    for text in ("1e3", "1.0e+3", "1000", "1000.", "0x3e8", "+1e3"):
        assert parse_config(f"elements: [Si]\ntemperatures_K: [{text}]").temperatures_K == [1000.0]
    config = parse_config("elements: [Si]\nvalidation:\n  relax_fmax_eV_per_A: 1e-8\n")
    assert config.validation.relax_fmax_eV_per_A == 1e-8  # type: ignore[attr-defined]
    assert parse_config("elements: [Si]\nseed: 010").seed == 10


def test_words_for_true_and_empty_sections() -> None:
    for word, meant in (("yes", True), ("on", True), ("true", True), ("No", False), ("off", False)):
        config = parse_config(f"elements: [Si]\noracle:\n  metallic: {word}\n")
        assert config.oracle.metallic is meant  # type: ignore[attr-defined]
    config = parse_config("elements: [Si]\noracle:\ntemperatures_K:\nbudget: {}\nseed: null\n")
    assert config.temperatures_K is None
    assert config == parse_config("elements: [Si]").with_origin(config.origin)  # type: ignore[arg-type]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert len(str(caught.value).splitlines()) == 1
        assert str(caught.value).startswith(str(path))
        return str(caught.value)

    assert "no such file" in message(tmp_path / "absent.yaml")
    assert "is a folder" in message(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("elements: [Si]\n# K\xe4fig\n".encode("latin-1"))
    assert re.search(r"latin\.yaml:2: .*UTF-8", message(latin))
    wide = tmp_path / "wide.yaml"
    wide.write_bytes("elements: [Si]\n".encode("utf-16"))
    assert "UTF-8" in message(wide)
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"# " + b"x" * 300_000)
    assert "larger than" in message(huge)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x00\x01\x02elements")
    assert "not allowed" in message(binary)
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    assert "not a regular file" in message(fifo)


_PATHS = sorted(valid_paths())


def _ratio(first: str, second: str) -> float:
    return SequenceMatcher(None, first.lower(), second.lower()).ratio()


@st.composite
def _misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A valid dotted path, and the same with one slip of the finger in its last key."""
    path = draw(st.sampled_from(_PATHS))
    head, _, key = path.rpartition(".")
    assume(len(key) >= 4)
    where = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    slip = draw(st.sampled_from(["drop", "double", "swap", "change", "case"]))
    if slip == "drop":
        wrong = key[:where] + key[where + 1 :]
    elif slip == "double":
        wrong = key[:where] + key[where] + key[where:]
    elif slip == "swap":
        wrong = key[:where] + key[where + 1 : where + 2] + key[where : where + 1] + key[where + 2 :]
    elif slip == "change":
        wrong = key[:where] + letter + key[where + 1 :]
    else:
        wrong = key.swapcase()
    return path, f"{head}.{wrong}" if head else wrong


@given(_misspelt())
@settings(max_examples=150, deadline=None)
@example(("temperatures_K", "temperatur"))
@example(("oracle.ecutwfc_Ry", "oracle.ecutwfc"))
@example(("oracle.kspacing_per_A", "oracle.kspacing"))
def test_misspelt_key_is_recognised(pair: tuple[str, str]) -> None:
    path, wrong = pair
    assume(wrong not in _PATHS)
    head, _, key = wrong.rpartition(".")
    # `code` with another first letter may be `mode`, which is nearer to `model`: no slip of it.
    rivals = [other for other in _PATHS if other != path and other.rpartition(".")[0] == head]
    assume(all(_ratio(wrong, other) < _ratio(wrong, path) for other in rivals))
    text = f"elements: [Si]\n{head}:\n  {key}: 1\n" if head else f"elements: [Si]\n{key}: 1\n"
    line = 3 if head else 2
    found = [text for text in errors(text) if "unknown key" in text]
    assert found == [f"c.yaml:{line}: key '{wrong}': unknown key; did you mean '{path}'?"]


@given(st.sampled_from(SYMBOLS))
def test_every_symbol_is_taken_as_it_is(symbol: str) -> None:
    assert parse_config(f"elements: [{symbol}]").elements == [symbol]
    assert parse_config(f"elements: {symbol}").elements == [symbol]
    assert nearest_symbol(symbol.lower()) == symbol
    assert nearest_symbol(symbol.upper()) == symbol


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        config = parse_config(text, "c.yaml")
    except ConfigError as error:
        assert error.problems
        assert len(str(error).splitlines()) == len(error.problems)
    else:
        assert config.elements


def test_every_key_is_described_and_every_number_bounded() -> None:
    for name, section in sections().items():
        for key, info in section.model_fields.items():
            assert info.description, f"{name}.{key}"
