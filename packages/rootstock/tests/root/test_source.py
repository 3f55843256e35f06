"""Environment files, judged without being run."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootstock.root.errors import SourceError
from rootstock.root.shipped import BUILT_IN, built_in_source, shipped_sources
from rootstock.root.source import check_setup, read_source

HEAD = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["ase==3.29.0"]\n{}# ///\n'
SETUP = "def setup(model, device, **kwargs):\n    raise RuntimeError('never run here')\n"


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_a_valid_file(tmp_path: Path) -> None:
    facts = '#\n# [tool.rootstock]\n# aliases = ["my"]\n# models = ["a", "b"]\n# weights = "file"\n'
    source = read_source(write(tmp_path, HEAD.format(facts) + SETUP))
    assert source.name == "mine_env"
    assert source.requires_python == ">=3.11"
    assert source.dependencies == ("ase==3.29.0",)
    assert source.facts.aliases == ("my",)
    assert source.facts.models == ("a", "b")
    assert source.facts.weights == "file"
    assert source.facts.conservative


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SETUP, "no PEP 723 block"),
        (HEAD.format("") + "\n" + HEAD.format("") + SETUP, "more than one"),
        ("# /// script\n# dependencies = []\n# ///\n" + SETUP, "lacks requires-python"),
        ('# /// script\n# requires-python = ">=3"\n# ///\n' + SETUP, "lacks dependencies"),
        ("# /// script\n# requires-python = \n# ///\n" + SETUP, "not TOML"),
        (
            '# /// script\n# requires-python = ">=3"\n# dependencies = "ase"\n# ///\n' + SETUP,
            "a list of requirements",
        ),
        (HEAD.format(""), "no function setup"),
        (HEAD.format("") + "def setup(model, device:\n", r"mine.py:5: not Python"),
        (HEAD.format("") + "def setup(device, model): pass\n", "setup must be"),
        (HEAD.format("") + "def setup(model, device, dtype): pass\n", "setup must be"),
        (HEAD.format("") + "def setup(model, device, *, dtype): pass\n", "setup must be"),
        (HEAD.format("") + "class A:\n    def setup(model, device): pass\n", "no function setup"),
        (HEAD.format("# [tool.rootstock]\n# model = ['a']\n") + SETUP, "did you mean models"),
        (HEAD.format("# [tool.rootstock]\n# models = 'a'\n") + SETUP, "a list of strings"),
        (HEAD.format("# [tool.rootstock]\n# weights = 'web'\n") + SETUP, "inside, download or"),
    ],
)
def test_refusals_name_the_file_and_the_fault(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SourceError, match=said) as caught:
        read_source(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", ["Mine", "my model", "my.model"])
def test_a_name_that_no_model_string_can_begin_with(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="lower-case"):
        read_source(write(tmp_path, HEAD.format("") + SETUP, name))


def test_extra_arguments_may_have_defaults(tmp_path: Path) -> None:
    text = "def setup(model: str = '', device: str = 'cpu', dtype: str = 'float32'): pass\n"
    check_setup(write(tmp_path, text))


def test_shipped_files_are_valid_and_pinned() -> None:
    shipped = shipped_sources()
    for name in ("mace", "chgnet", "sevennet", "mattersim", "orb", "fairchem", "nequip"):
        assert f"{name}_env" in shipped
    for name in ("deepmd", "tblite", "ace", "esper"):
        assert f"{name}_env" in shipped
    for source in shipped.values():
        assert source.facts.summary
        assert source.facts.licence
        assert all("==" in requirement for requirement in source.dependencies)
        assert any(r.startswith("ase==") for r in source.dependencies)
    names = [n for s in shipped.values() for n in (s.name.removesuffix("_env"), *s.facts.aliases)]
    assert len(names) == len(set(names)), "two environments answer to one name"
    for name in BUILT_IN:
        check_setup(built_in_source(name))
