"""What is locked, and for which build of torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rootstock.build.interpreter import Interpreter
from rootstock.build.requirements import check_requirements, locked_packages, wanted_platform
from rootstock.root.errors import BuildError, SourceError
from rootstock.root.source import EnvironmentSource, read_source

Write = Callable[..., Path]
INTERPRETER = Interpreter(Path("python"), "3.11.7", None)


def with_torch(folder: Path, write_source: Write, version: str) -> EnvironmentSource:
    path = write_source(folder, "mine")
    path.write_text(path.read_text().replace('"ase==3.29.0"', f'"ase==3.29.0", "{version}"'))
    return read_source(path)


def test_a_folder_of_wheels_serves_only_the_version_that_is_wanted(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    wanted = with_torch(tmp_path, write_source, "torch==2.13.0")
    assert wanted_platform(wanted, INTERPRETER, "cpu", None).torch_backend is None
    other = with_torch(tmp_path, write_source, "torch==2.11.0")
    assert wanted_platform(other, INTERPRETER, "cpu", None).torch_backend == "cpu"
    assert wanted_platform(other, INTERPRETER, "cuda", None).torch_backend is None
    assert wanted_platform(other, INTERPRETER, "cuda", "cu128").torch_backend == "cu128"
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "nowhere"))
    assert wanted_platform(wanted, INTERPRETER, "cpu", None).torch_backend == "cpu"
    assert wanted_platform(wanted, INTERPRETER, "cpu", None).python == "3.11"
    with pytest.raises(BuildError, match="no such device"):
        wanted_platform(wanted, INTERPRETER, "tpu", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('">=3.11"', '"three"', "requires-python"),
        ('"ase==3.29.0"', '"ase=3"', "is no requirement"),
    ],
)
def test_what_uv_could_not_read(
    tmp_path: Path, write_source: Write, old: str, new: str, said: str
) -> None:
    path = write_source(tmp_path, "mine")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SourceError, match=said) as caught:
        check_requirements(read_source(path))
    assert "\n" not in str(caught.value)


def test_versions_in_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(
        "# rootstock: {}\nase==3.29.0 \\\n    --hash=sha256:00\n"
        "torch==2.13.0+cpu ; python_version < '4' \\\n    --hash=sha256:11\n"
    )
    assert locked_packages(path) == {"ase": "3.29.0", "torch": "2.13.0+cpu"}
