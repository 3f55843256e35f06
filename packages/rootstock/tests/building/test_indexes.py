"""uv looks where pip looks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rootstock.build import indexes
from rootstock.build.indexes import local_cpu_torch, parse_pip_settings, uv_variables
from rootstock.root.errors import BuildError

LISTED = """\
:env:.find-links='/wheels/mine'
global.cert='/etc/ssl/certs/ours.crt'
global.extra-index-url='https://one.example/simple https://two.example/simple'
global.find-links='/wheels/site'
global.index-url='https://pypi.example/simple'
install.index-url='https://install.example/simple'
list.format='columns'
"""


def test_the_command_wins_over_global_and_the_environment_over_both() -> None:
    settings = parse_pip_settings(LISTED)
    assert settings["find-links"] == "/wheels/mine"
    assert settings["index-url"] == "https://install.example/simple"
    assert settings["cert"] == "/etc/ssl/certs/ours.crt"
    assert "format" not in settings


def test_pip_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        f"[global]\nindex-url = https://pypi.example/simple\nfind-links = {tmp_path}\n"
        "constraint = /c.txt\ntrusted-host = pypi.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    for name in ("PIP_INDEX_URL", "PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    found = uv_variables()
    assert found["UV_DEFAULT_INDEX"] == "https://pypi.example/simple"
    assert found["UV_FIND_LINKS"] == str(tmp_path)
    assert found["UV_CONSTRAINT"] == "/c.txt"
    assert found["UV_INSECURE_HOST"] == "pypi.example"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://other.example/simple")
    monkeypatch.setenv("UV_FIND_LINKS", "/other")
    found = uv_variables()
    assert found["UV_DEFAULT_INDEX"] == "https://other.example/simple", "uv's own settings win"
    assert found["UV_FIND_LINKS"] == "/other"


def test_what_belongs_to_another_environment_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/foreign")
    monkeypatch.setenv("VIRTUAL_ENV", "/foreign")
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & uv_variables().keys()


def test_torchs_cpu_build_in_a_folder_of_wheels(tmp_path: Path) -> None:
    for name in ("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "torch-2.12.0-cp311-any.whl"):
        (tmp_path / name).touch()
    assert local_cpu_torch({"UV_FIND_LINKS": f"/nowhere,{tmp_path}"}) == ["2.13.0+cpu"]
    assert local_cpu_torch({"UV_FIND_LINKS": f"file://{tmp_path}"}) == ["2.13.0+cpu"]
    assert local_cpu_torch({}) == []


def test_without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match="pip install uv"):
        indexes.find_uv()
