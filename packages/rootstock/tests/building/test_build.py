"""Builds, by uv, of an environment that holds ASE's EMT: what happens when and after they fail."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rootstock.build import build as building
from rootstock.build.build import BuildOptions, build
from rootstock.build.register import register
from rootstock.build.remove import plan_removal, remove
from rootstock.build.verify import verify
from rootstock.build.version import package_folder
from rootstock.cli.status import status_of
from rootstock.root.create import create_root
from rootstock.root.errors import BuildError, RootError, SourceError
from rootstock.root.files import remove_tree
from rootstock.root.layout import Layout
from rootstock.root.manifest import read_manifest
from rootstock.root.resolve import resolve_model
from rootstock.root.variables import complete

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

Write = Callable[..., Path]
SPARE = {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "hardlink"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A root where `probe` is built once."""
    source = Path(__file__).parents[1] / "conftest.py"
    namespace: dict[str, object] = {}
    text = source.read_text()
    exec(text[text.index("SOURCE = '''") : text.index("@pytest.fixture(autouse")], namespace)
    layout = create_root(tmp_path_factory.mktemp("shared") / "root")[0]
    template = str(namespace["SOURCE"])
    layout.source("probe_env").write_text(template.format(body="pass", facts=""))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SPARE.items():
            patch.setenv(name, value)
        said: list[str] = []
        build(layout, "probe", BuildOptions(), said.append)
    assert any("finite differences" in line for line in said)
    yield layout
    remove_tree(layout.folder)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SPARE.items():
        monkeypatch.setenv(name, value)


def energy(layout: Layout, model: str = "probe") -> tuple[float, dict[str, str]]:
    """The energy of a copper crystal by the environment's own interpreter, and where it ran."""
    found = resolve_model(layout.folder, model)
    code = (
        "import json, sys\n"
        "from ase.build import bulk\n"
        "from rootstock.build.smoke_test import load\n"
        "from pathlib import Path\n"
        f"atoms = bulk('Cu', cubic=True); atoms.calc = load(Path({str(found.source)!r}), "
        f"{found.argument!r}, 'cpu', {{}})\n"
        "import numpy, ase, rootstock\n"
        "print(json.dumps([atoms.get_potential_energy(), {'prefix': sys.prefix, 'base': "
        "sys.base_prefix, 'numpy': numpy.__file__, 'rootstock': rootstock.__path__[0], "
        "'path': ':'.join(sys.path)}]))"
    )
    done = subprocess.run(
        [found.python, "-c", code], capture_output=True, text=True, check=True, timeout=120,
        env=complete(found.variables), cwd=layout.folder.parent,
    )  # fmt: skip
    value, where = json.loads(done.stdout)
    return value, where


def test_it_runs_by_itself_and_holds_no_path_of_its_own(shared: Layout) -> None:
    value, where = energy(shared)
    assert value == pytest.approx(-0.0056, abs=0.02)
    folder = shared.current("probe_env")
    assert folder is not None
    for key in ("prefix", "numpy", "rootstock"):
        assert where[key].startswith(str(folder))
    assert where["base"].startswith(str(shared.interpreters))
    for path in where["path"].split(":"):
        assert not path or path.startswith(str(shared.folder)), path
    for link in (folder / "bin").iterdir():
        if link.is_symlink():
            assert not link.readlink().is_absolute()
        elif link.stat().st_size < 10_000:
            assert str(shared.folder) not in link.read_text(errors="replace"), link
    assert str(shared.folder) not in (folder / "pyvenv.cfg").read_text()
    assert str(shared.folder) not in shared.manifest.read_text()


def test_the_manifest_tells_what_was_built(shared: Layout) -> None:
    manifest = read_manifest(shared)
    record = manifest.environments["probe_env"]
    assert record.packages["ase"] == "3.29.0"
    assert "matplotlib" not in record.packages, "it is excluded"
    assert record.size_bytes > 10e6
    model = manifest.models["probe"]
    assert model.verified["cpu"].version == record.version
    assert model.verified["cpu"].formula == "Cu4"
    lock = shared.lock_file("probe_env").read_text()
    assert "ase==3.29.0" in lock
    assert "--hash=sha256:" in lock
    row = status_of(shared)["models"]["probe"]
    assert row["built"]
    assert row["verified"]["cpu"]["current"]
    assert row["last_error"] is None


def test_what_did_not_change_is_not_built_again(shared: Layout) -> None:
    before = shared.current("probe_env")
    said: list[str] = []
    build(shared, "probe", BuildOptions(), said.append)
    assert shared.current("probe_env") == before
    assert any("up to date" in line for line in said)
    assert not any("testing" in line for line in said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('no such weights')", "no such weights"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        (
            "from ase.calculators.lj import LennardJones as LJ; return LJ(epsilon=float('nan'))",
            "not finite",
        ),
    ],
)
def test_a_build_that_fails_leaves_the_old_one_working(
    shared: Layout, write_source: Write, body: str, said: str
) -> None:
    good = shared.source("probe_env").read_text()
    before, versions = shared.current("probe_env"), sorted(shared.versions.iterdir())
    try:
        write_source(shared.environments, "probe_env", body)
        with pytest.raises(BuildError, match=said) as caught:
            build(shared, "probe", BuildOptions(), lambda _: None)
        assert "\n" not in str(caught.value)
        assert shared.current("probe_env") == before
        assert sorted(shared.versions.iterdir()) == versions
        energy(shared)
        status = status_of(shared)["environments"]["probe_env"]
        assert said in status["last_error"]["message"]
        assert any("changed since it was built" in note for note in status["notes"])
    finally:
        shared.source("probe_env").write_text(good)
    build(shared, "probe", BuildOptions(), lambda _: None)
    assert status_of(shared)["environments"]["probe_env"]["last_error"] is None


def test_kill_9_in_a_build_loses_nothing_and_the_next_one_cleans_up(
    shared: Layout, write_source: Write, tmp_path: Path
) -> None:
    good = shared.source("probe_env").read_text()
    before = shared.current("probe_env")
    flag = tmp_path / "testing"
    body = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    try:
        write_source(shared.environments, "probe_env", body)
        command = [sys.executable, "-m", "rootstock.cli.app", "build", "probe"]
        code = "from rootstock.cli import main; main()"
        command = [sys.executable, "-c", code, "build", "probe", "--root", str(shared.folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while not flag.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = [p for p in shared.versions.iterdir() if p != before]
        assert left, "half of it lies there"
        assert shared.current("probe_env") == before
        energy(shared)
    finally:
        shared.source("probe_env").write_text(good)
    said: list[str] = []
    build(shared, "probe", BuildOptions(), said.append)
    assert not any(p.exists() for p in left)
    assert any("an earlier build left" in line for line in said)


def test_two_builds_at_once_make_it_once(tmp_path: Path, write_source: Write) -> None:
    layout = create_root(tmp_path / "root")[0]
    write_source(layout.environments, "probe_env")
    said: list[str] = []
    records = []
    threads = [
        threading.Thread(
            target=lambda: records.append(build(layout, "probe", BuildOptions(), said.append))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.version for record in records}) == 1
    assert sum(line.startswith("installing") for line in said) == 1
    assert any("waiting for another build" in line for line in said)

    # Moved and read-only it serves as before.
    moved = Layout(tmp_path / "moved" / "elsewhere")
    moved.folder.parent.mkdir()
    layout.folder.rename(moved.folder)
    before = _snapshot(moved.folder)
    _set_writable(moved.folder, False)
    try:
        value, where = energy(moved)
        assert value == pytest.approx(energy(moved)[0])
        assert where["base"].startswith(str(moved.folder))
        verdicts = list(verify(moved, (), "cpu", lambda _: None))
        assert [v.problem for v in verdicts] == [None]
        if os.geteuid() != 0:  # root may write anywhere
            with pytest.raises(RootError, match="cannot be written to"):
                build(moved, "probe", BuildOptions(), lambda _: None)
            assert _snapshot(moved.folder) == before
    finally:
        _set_writable(moved.folder, True)


def test_a_rebuild_keeps_the_version_before_for_who_still_uses_it(shared: Layout) -> None:
    first = shared.current("probe_env")
    lock = shared.lock_file("probe_env").read_text()
    build(shared, "probe", BuildOptions(force=True), lambda _: None)
    second = shared.current("probe_env")
    assert first is not None
    assert second != first
    assert first.exists()
    assert shared.lock_file("probe_env").read_text() == lock, "the lock holds"
    building.sweep(shared, "probe_env", keep=0)
    assert not first.exists()
    energy(shared)


def test_weights_are_registered_tested_and_verified(shared: Layout, tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"any")
    said: list[str] = []
    record = register(
        shared, "probe-mine", weights, said.append, elements=["Cu", "Au"], facts={"verdict": "go"}
    )
    assert record.verified["cpu"].formula in ("Au2Cu2", "Cu2Au2")
    found = resolve_model(shared.folder, "probe-mine")
    assert Path(found.argument).read_bytes() == b"any"
    assert read_manifest(shared).models["probe-mine"].facts == {"verdict": "go"}
    with pytest.raises(RootError, match="--replace"):
        register(shared, "probe-mine", weights, said.append)
    weights.write_bytes(b"other")
    register(shared, "probe-mine", weights, said.append, elements=["Cu"], replace=True)
    new = resolve_model(shared.folder, "probe-mine")
    assert Path(new.argument).read_bytes() == b"other"
    assert not Path(found.argument).exists()
    with pytest.raises(BuildError, match="smoke test"):
        register(shared, "probe-bad", weights, said.append, elements=["U"])  # EMT has no uranium
    assert "probe-bad" not in read_manifest(shared).models

    assert [v.problem for v in verify(shared, ("probe-mine",), "cpu", said.append)] == [None]
    path = Path(new.argument)
    path.chmod(0o644)
    path.write_bytes(b"flipt")
    (verdict,) = verify(shared, ("probe-mine",), "cpu", said.append, checksums_only=True)
    assert verdict.problem is not None
    assert "is not what it was" in verdict.problem
    assert status_of(shared)["models"]["probe-mine"]["last_error"] is not None
    removal = plan_removal(shared, "probe-mine")
    assert not removal.whole_environment
    remove(shared, removal)
    assert not path.exists()
    assert "probe-mine" not in read_manifest(shared).models
    energy(shared)


def test_what_cannot_be_built(shared: Layout, write_source: Write) -> None:
    with pytest.raises(SourceError, match="did you mean chgnet"):
        build(shared, "chgnett", BuildOptions(), lambda _: None)
    with pytest.raises(RootError, match="needs no environment"):
        build(shared, "emt", BuildOptions(), lambda _: None)
    source = write_source(shared.environments, "late_env")
    source.write_text(source.read_text().replace('">=3.11"', '">=3.99"'))
    with pytest.raises(BuildError, match=r"no Python >=3\.99"):
        build(shared, "late", BuildOptions(), lambda _: None)
    source.write_text(source.read_text().replace(">=3.99", ">=3.11").replace("3.29.0", "0.0.1"))
    with pytest.raises(BuildError, match="locking the requirements of late_env failed"):
        build(shared, "late", BuildOptions(), lambda _: None)
    assert shared.current("late_env") is None
    remove(shared, plan_removal(shared, "late"))
    assert not source.exists()


def test_the_rootstock_inside_is_the_one_that_built_it(shared: Layout) -> None:
    folder = shared.current("probe_env")
    assert folder is not None
    inside = next(folder.glob("lib/python3.*/site-packages/rootstock"))
    ours = {p.relative_to(package_folder()) for p in package_folder().rglob("*.py")}
    assert {p.relative_to(inside) for p in inside.rglob("*.py")} == ours
    (verdict,) = verify(shared, ("probe",), "cpu", lambda _: None, checksums_only=True)
    assert verdict.problem is None
    target = inside / "clusters.py"
    text = target.read_text()
    try:
        target.write_text(text + "\n# changed\n")
        (verdict,) = verify(shared, ("probe",), "cpu", lambda _: None, checksums_only=True)
        assert "is not what was put there" in str(verdict.problem)
    finally:
        target.write_text(text)


def _snapshot(folder: Path) -> set[tuple[str, int]]:
    return {(str(p), p.lstat().st_mtime_ns) for p in folder.rglob("*") if not p.is_dir()}


def _set_writable(folder: Path, writable: bool) -> None:
    for where, _, names in os.walk(folder):
        for path in (Path(where), *(Path(where) / n for n in names)):
            if not path.is_symlink():
                mode = path.stat().st_mode
                bits = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
                path.chmod(mode | stat.S_IWUSR if writable else mode & ~bits)
