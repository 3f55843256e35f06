"""Roots to test with: one of records only, without any environment, and one that is built."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rootstock.root.create import create_root
from rootstock.root.files import point_link, sha256_of
from rootstock.root.layout import Layout
from rootstock.root.manifest import EnvironmentRecord, changed_manifest, write_record

SOURCE = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = ["ase==3.29.0", "numpy==2.4.6"]
#
# [tool.rootstock]
# elements = ["Cu"]
# exclude = ["matplotlib"]
{facts}# ///
"""For tests: ASE's EMT, in an environment that is quickly made."""


def setup(model, device, **kwargs):
    {body}
    from ase.calculators.emt import EMT

    return EMT(**kwargs)
'''


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    for name in ("ROOTSTOCK_ROOT", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write_source() -> Callable[..., Path]:
    """Write an environment file of EMT; `body` runs first in its setup."""

    def write(folder: Path, name: str, body: str = "pass", facts: str = "") -> Path:
        lines = "".join(f"# {line}\n" for line in facts.splitlines())
        path = folder / f"{name}.py"
        path.write_text(SOURCE.format(body=body, facts=lines))
        return path

    return write


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return create_root(tmp_path / "root")[0]


@pytest.fixture
def pretend_built(layout: Layout, write_source: Callable[..., Path]) -> Callable[..., Path]:
    """Give the root an environment that is built as far as anyone who does not run it can see."""

    def pretend(name: str, facts: str = "", aliases: tuple[str, ...] = ()) -> Path:
        source = write_source(layout.environments, name, facts=facts)
        folder = layout.versions / f"{name}-20260101T000000-abc123"
        (folder / "bin").mkdir(parents=True)
        (folder / f"{name}.py").write_bytes(source.read_bytes())
        record = EnvironmentRecord(
            name=name,
            version=folder.name,
            built="2026-01-01T00:00:00Z",
            wall_s=1.0,
            size_bytes=1000,
            source_sha256=sha256_of(source),
            lock_sha256="0" * 64,
            device="cpu",
            python="3.11.0",
            interpreter=".python/x/bin/python3.11",
            library_path=None,
            rootstock="0.1.0",
            rootstock_sha256="0" * 64,
            uv="0.7",
            packages={"ase": "3.29.0"},
            aliases=list(aliases),
        )
        write_record(folder, record)
        point_link(layout.envs / name, f".versions/{folder.name}")
        with changed_manifest(layout) as manifest:
            manifest.environments[name] = record
        return folder

    return pretend


@pytest.fixture(scope="session")
def no_download() -> None:
    """Spare the attempt to fetch an interpreter, which takes time where it cannot succeed."""
    os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
