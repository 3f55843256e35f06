"""EON's build: refused where it cannot be, told what to read where it fails, tested where it is."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import pytest

from pyacemaker.parts import debian, eon
from pyacemaker.parts.debian import install_packages
from pyacemaker.parts.environments import found_environment
from pyacemaker.parts.eon import CLIENT, SERVER, build_eon, found_eon
from pyacemaker.parts.eon_smoke_test import run_smoke_test
from pyacemaker.parts.sources import PartError
from pyacemaker.process import Finished


@pytest.fixture
def empty_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_another_system_is_refused_before_anything_is_done(empty_cache, monkeypatch):
    fedora = {"ID": "fedora", "VERSION_ID": "40"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: fedora)
    with pytest.raises(PartError, match=r"this is fedora 40.*conda install -c conda-forge eon"):
        build_eon()
    assert not empty_cache.exists()


def test_without_root_the_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)
    with pytest.raises(PartError, match=r"as root: apt-get install .* no-such-package$"):
        install_packages(["dpkg", "no-such-package"], "building it", tmp_path / "log", print)


def test_what_is_installed_is_not_installed_again(tmp_path):
    install_packages(["dpkg"], "building it", tmp_path / "log", print)
    assert not (tmp_path / "log").exists()


def test_a_compile_error_names_the_line_and_the_log(empty_cache, monkeypatch, tmp_path):
    """The compiler's output stands for that of a build of an hour that fails."""
    said = [
        "[1/2] Compiling A.o",
        "A.h:3: note: here",
        "A.cpp:7:1: error: 'x' was not declared",
        "B.cpp:9:1: error: another",
        "ninja: build stopped",
    ]
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "build.ninja").touch()

    def failing(command, *, stdout, watch, **_):
        stdout.write_text("\n".join(said))
        assert watch(1) is None
        return Finished(1, 1.0, timed_out=False)

    class Tools:
        def variables(self):
            return {}

        def program(self, name):
            return Path(name)

    monkeypatch.setattr(eon, "run_program", failing)
    with pytest.raises(PartError, match=r"A\.cpp:7:1: error: 'x' was.*whole output: .*build\.log"):
        eon._compile(tmp_path, tmp_path, Tools(), print, 1, 10.0)


def test_what_a_build_was_told_is_not_written_again(tmp_path):
    """The compiler's steps go by the age of files: a killed build would begin anew."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libreadcon_core.so").touch()
    eon._write_settings(tmp_path, tmp_path / "sources", print)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        os.utime(path, (1, 1))
    eon._write_settings(tmp_path, tmp_path / "sources", print)
    assert all(path.stat().st_mtime == 1 for path in files)
    eon._write_settings(tmp_path, tmp_path / "elsewhere", print)
    changed = [path.name for path in files if path.stat().st_mtime != 1]
    assert changed == ["readcon-core.pc"]


def test_steps_are_told(monkeypatch, tmp_path):
    said: list[str] = []
    monkeypatch.setattr(eon, "_TELL_S", 0.0)
    log = tmp_path / "log"
    log.write_text("ninja: Entering\n[1/95] Compiling\nwarning: [9/9]\n[17/95] Compiling\n")
    assert eon._teller(log, said.append)(1) is None
    assert said == ["compiled 17 of 95, 0 min"]


def test_a_program_that_does_something_else_is_refused(tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("#!/bin/sh\ncp pos.con min.con\necho '-0.5 potential_energy' > results.dat\n")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no library; exit 127\n")
    for path in (wrong, broken):
        path.chmod(0o755)
    with pytest.raises(PartError, match=r"to 1\.3.* angstrom and -0\.5.* eV, not 1\.12246 and -1"):
        run_smoke_test(wrong, wrong, tmp_path / "test")
    with pytest.raises(PartError, match=r"broken does not run \(exit status 127\).*client\.log"):
        run_smoke_test(wrong, broken, tmp_path / "test")


@pytest.mark.real
def test_a_build_is_found_while_it_is_whole(monkeypatch, tmp_path):
    built = found_eon()
    if built is None:
        pytest.skip("no EON in the cache; `pyacemaker build-eon` takes an hour")
    said: list[str] = []
    assert build_eon(said.append) == built
    assert "already built" in said[0]
    run_smoke_test(built / SERVER, built / CLIENT, tmp_path / "test")
    assert not (tmp_path / "test").exists()
    monkeypatch.setattr(eon, "_folder", lambda: tmp_path / "copy")
    shutil.copytree(built, tmp_path / "copy" / "bin", symlinks=False)
    shutil.copy(built.parent / "READY.json", tmp_path / "copy")
    assert found_eon() == tmp_path / "copy" / "bin"
    record = json.loads((tmp_path / "copy" / "READY.json").read_text())
    assert record["version"] == "3.6.0"
    with (tmp_path / "copy" / "bin" / CLIENT).open("r+b") as stream:
        stream.truncate(1000)
    assert found_eon() is None
    assert found_environment(eon._SPEC) is not None
