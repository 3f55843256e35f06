"""Environments by uv, made from wheels on the spot: no network is needed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from pyacemaker.parts import environments
from pyacemaker.parts.environments import EnvironmentSpec, environment, found_environment
from pyacemaker.parts.sources import PartError


def write_wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """A wheel with one module, `name`, that has VERSION and a program of the same name."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\ndef main(): print(VERSION)\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", tag)
        wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(autouse=True)
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own and an index that is a folder."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "tinyfit", "1.0")
    write_wheel(wheels, "tinyfit", "2.0")
    write_wheel(wheels, "tinyextra", "0.1", requires="nowhere-to-be-found==9")
    write_wheel(wheels, "tinyuser", "0.1", requires="tinyfit")
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return tmp_path / "cache"


def spec(
    version: str = "1.0", smoke_test: str = "import tinyfit", **more: object
) -> EnvironmentSpec:
    fields = {"size_MB": 1, "pins_alone": (), **more}
    return EnvironmentSpec("tiny", (f"tinyfit=={version}",), smoke_test, **fields)  # type: ignore[arg-type]


def test_made_once_and_then_only_found(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    wanted = spec(pins_alone=("tinyextra==0.1",))  # whose dependency does not exist
    assert found_environment(wanted) is None
    made = environment(wanted, said.append)
    assert any("tinyfit==1.0" in line for line in said)
    assert made.python.exists()
    run = subprocess.run([made.program("tinyfit")], capture_output=True, text=True, check=True)
    assert run.stdout == "1.0\n"
    assert found_environment(wanted) == made

    said.clear()
    monkeypatch.setattr(environments, "_uv", lambda: "/nonexistent")  # not needed any more
    assert environment(wanted, said.append) == made
    assert said == []


def test_other_pins_are_another_environment() -> None:
    one, two = environment(spec("1.0")), environment(spec("2.0"))
    assert one.folder != two.folder
    for made, version in ((one, "1.0"), (two, "2.0")):
        code = "import tinyfit; print(tinyfit.VERSION)"
        run = subprocess.run([made.python, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == version


def test_constraints_fix_the_dependencies() -> None:
    versions = []
    for constraints in (("tinyfit==1.0",), ()):
        wanted = EnvironmentSpec(
            "tiny", ("tinyuser==0.1",), "import tinyuser", 1, constraints=constraints
        )
        program = environment(wanted).program("tinyfit")
        run = subprocess.run([program], capture_output=True, text=True, check=True)
        versions.append(run.stdout.strip())
    assert versions == ["1.0", "2.0"]


def test_other_environments_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intruder = tmp_path / "intruder"
    intruder.mkdir()
    (intruder / "tinyfit.py").write_text("VERSION = 'wrong'")
    monkeypatch.setenv("PYTHONPATH", str(intruder))
    made = environment(spec())
    code = "import tinyfit, os; print(tinyfit.VERSION, os.environ['THREADS'])"
    run = subprocess.run(
        [made.python, "-c", code],
        env=made.variables(THREADS="1"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "1.0 1\n"
    assert made.variables()["PATH"].startswith(str(made.folder / "bin"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no such version", r"installing into the environment tiny failed.*may not exist"),
        ("smoke test", r"smoke test.*ModuleNotFoundError.*tinyfoo"),
        ("unreachable", r"installing into.*check the network.*UV_FIND_LINKS"),
        ("no space", r"takes 1000000000000 MB and .* free"),
        ("no uv", r"pip install uv"),
        ("time", r"smoke test.* was stopped after"),
        ("cache is a file", r"PYACEMAKER_CACHE"),
    ],
)
def test_failures_say_what_to_do_and_leave_nothing(
    case: str, message: str, monkeypatch: pytest.MonkeyPatch, offline_cache: Path
) -> None:
    wanted, limit_s = spec(), 60.0
    if case == "no such version":
        wanted = spec("7.0")
    elif case == "smoke test":
        wanted = spec(smoke_test="import tinyfoo")
    elif case == "unreachable":
        monkeypatch.delenv("UV_NO_INDEX")
        monkeypatch.delenv("UV_FIND_LINKS")
        monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    elif case == "no space":
        wanted = spec(size_MB=10**12)
    elif case == "no uv":
        monkeypatch.setitem(sys.modules, "uv", None)
        monkeypatch.setenv("PATH", "/nonexistent")
    elif case == "time":
        wanted, limit_s = spec(smoke_test="import time; time.sleep(60)"), 4.0
    else:
        offline_cache.write_text("")
    with pytest.raises(PartError, match=message) as caught:
        environment(wanted, timeout_s=limit_s)
    assert "\n" not in str(caught.value)
    assert not wanted.folder.exists()
    assert found_environment(wanted) is None


def test_a_killed_build_is_built_anew(tmp_path: Path) -> None:
    script = (
        "import sys; from pyacemaker.parts.environments import *\n"
        "environment(EnvironmentSpec('tiny', ('tinyfit==1.0',), sys.argv[1], 1))\n"
    )
    flag = tmp_path / "testing"
    test = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script, test])
    deadline = time.monotonic() + 30
    while not flag.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert spec().folder.exists()  # half of it lies there ...
    assert found_environment(spec()) is None  # ... and is not taken for whole
    made = environment(spec())
    assert json.loads((made.folder / "READY.json").read_text())["pins"] == ["tinyfit==1.0"]


def test_two_at_once_make_it_once() -> None:
    said: list[str] = []
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(environment(spec(), said.append)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({made.folder for made in results}) == 1
    assert len(results) == 3
    assert sum(line.startswith("making") for line in said) == 1


def test_an_environment_whose_python_is_gone_is_made_again() -> None:
    made = environment(spec())
    made.python.unlink()
    made.python.symlink_to("/nonexistent/python")
    assert found_environment(spec()) is None
    assert environment(spec()).python.exists()


def test_a_name_that_is_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match="not a name"):
        EnvironmentSpec("../up", (), "", 1)
