"""An interpreter inside the root, so that the root can be moved.

A standalone one by uv where it can be fetched; else a copy of one that is on this machine.
A copy needs the system libraries (libssl, libffi, ...) of the distribution it comes from.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from rootstock.build.indexes import find_uv, uv_variables
from rootstock.build.programs import Log, Say, gist, run
from rootstock.root.errors import BuildError
from rootstock.root.files import locked, remove_tree, write_whole
from rootstock.root.layout import Layout
from rootstock.root.variables import FOREIGN

_FETCH_LIMIT_S = 300.0
_QUERY_LIMIT_S = 60.0
_READY = "rootstock-interpreter.json"
_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "config-*",
    "*.a",
    "EXTERNALLY-MANAGED",
    "sitecustomize.py",
)
_QUERY = """
import json, os, sys, sysconfig
paths, var = sysconfig.get_paths(), sysconfig.get_config_var
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "stdlib": paths["stdlib"],
    "include": paths["include"],
    "dynload": var("DESTSHARED"),
    "library": os.path.join(var("LIBDIR") or "", var("INSTSONAME") or ""),
    "implementation": sys.implementation.name,
    "base": sys.base_prefix,
}))
"""
# What any model needs; a copy that lost one of them is no interpreter.
_PROBE = "import ctypes, hashlib, json, socket, ssl, sys, zlib; print(sys.base_prefix)"


@dataclass(frozen=True)
class Interpreter:
    """An interpreter of a root; `library_path` holds libpython where it is a shared library."""

    folder: Path
    version: str
    library_path: Path | None

    @property
    def python(self) -> Path:
        """The program."""
        return self.folder / "bin" / f"python{self.version.rpartition('.')[0]}"


def ensure_interpreter(layout: Layout, requires: str, log: Log, say: Say) -> Interpreter:
    """Return an interpreter of the root that satisfies `requires`, brought there if need be.

    Raises BuildError where none can be fetched and this machine has none that will do.
    """
    wanted = SpecifierSet(requires)
    with locked(layout.locks / "python.lock"):
        if (found := _present(layout, wanted)) is not None:
            return found
        if (found := _fetched(layout, wanted, log, say)) is not None:
            return found
        return _copied(layout, _on_this_machine(wanted, log), say)


def _present(layout: Layout, wanted: SpecifierSet) -> Interpreter | None:
    found = []
    for record in layout.interpreters.glob(f"*/{_READY}"):
        data = json.loads(record.read_text())
        library = record.parent / data["library_path"] if data["library_path"] else None
        interpreter = Interpreter(record.parent, data["version"], library)
        if interpreter.python.exists() and wanted.contains(interpreter.version):
            found.append(interpreter)
    return max(found, key=lambda i: Version(i.version), default=None)


def _fetched(layout: Layout, wanted: SpecifierSet, log: Log, say: Say) -> Interpreter | None:
    if os.environ.get("UV_PYTHON_DOWNLOADS", "").lower() in ("never", "manual"):
        return None
    here = platform.python_version()
    request = here.rpartition(".")[0] if wanted.contains(here) else str(wanted)
    command = [
        find_uv(),
        "python",
        "install",
        "--no-bin",
        "--install-dir",
        str(layout.interpreters),
        request,
    ]
    offset = log.path.stat().st_size
    # One try: whoever cannot reach the host gets a copy, at once.
    variables = uv_variables() | {"UV_HTTP_RETRIES": os.environ.get("UV_HTTP_RETRIES", "0")}
    try:
        run(
            "fetching an interpreter",
            command,
            log=log,
            timeout_s=_FETCH_LIMIT_S,
            env=variables,
            cwd=layout.folder,
            say=say,
        )
    except BuildError:
        reason = gist(log.text_from(offset))
        say(
            f"no standalone interpreter can be fetched here ({reason}); one of this machine "
            "is copied instead"
        )
        return None
    for folder in layout.interpreters.iterdir():
        # uv adds links of shorter names, which hold the root's path.
        if folder.is_symlink():
            folder.unlink()
        elif (folder / "bin").is_dir() and not (folder / _READY).exists():
            python = min((folder / "bin").glob("python3.*[0-9]"), key=lambda p: len(p.name))
            _mark(folder, _query(python)["version"], None)
    return _present(layout, wanted)


def _on_this_machine(wanted: SpecifierSet, log: Log) -> dict[str, Any]:
    if wanted.contains(platform.python_version()):
        return _query(Path(sys.executable))
    done = subprocess.run(
        [
            find_uv(),
            "python",
            "find",
            "--system",
            "--no-python-downloads",
            "--no-project",
            str(wanted),
        ],
        capture_output=True,
        text=True,
        timeout=_QUERY_LIMIT_S,
        check=False,
        env=uv_variables(),
    )
    log.note(f"looking for an interpreter {wanted}: {done.stdout.strip()} {done.stderr.strip()}")
    if done.returncode != 0:
        raise BuildError(
            f"this machine has no Python {wanted} and none can be fetched; install one (Debian "
            "and Ubuntu: python3.11 or python3.12)"
        )
    return _query(Path(done.stdout.strip()))


def _query(python: Path) -> dict[str, Any]:
    own = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    done = subprocess.run(
        [str(python), "-I", "-c", _QUERY],
        capture_output=True,
        text=True,
        timeout=_QUERY_LIMIT_S,
        check=False,
        env=own,
    )
    if done.returncode != 0:
        raise BuildError(f"{python} does not run: {gist(done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _copied(layout: Layout, found: dict[str, Any], say: Say) -> Interpreter:
    if found["implementation"] != "cpython":
        raise BuildError(f"{found['executable']} is not CPython and cannot be copied")
    version, short = found["version"], found["version"].rpartition(".")[0]
    folder = layout.interpreters / f"cpython-{version}-{sys.platform}-{platform.machine()}-copy"
    say(f"copying Python {version} into {folder}")
    for leftover in layout.interpreters.glob(".making-*"):
        remove_tree(leftover)
    staging = Path(tempfile.mkdtemp(dir=layout.interpreters, prefix=".making-"))
    try:
        (staging / "bin").mkdir()
        shutil.copy2(found["executable"], staging / "bin" / f"python{short}")
        library = staging / "lib" / f"python{short}"
        ignore = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(found["stdlib"], library, ignore=ignore)
        dynload = Path(found["dynload"] or "")
        if not (library / "lib-dynload").exists() and dynload.is_dir():
            shutil.copytree(dynload, library / "lib-dynload")
        (library / "site-packages").mkdir(exist_ok=True)
        include = Path(found["include"])  # what compilers of kernels at run time look for
        if include.is_dir():
            shutil.copytree(include, staging / "include" / include.name)
        shared = Path(found["library"])
        has_shared = shared.is_file() and ".so" in shared.name
        if has_shared:
            shutil.copy2(shared, staging / "lib" / shared.name)
        library_path = "lib" if has_shared else None
        staging.chmod(0o755)
        _probe(staging, short, library_path)
        remove_tree(folder)
        staging.rename(folder)
    except (OSError, shutil.Error) as error:
        raise BuildError(f"{found['executable']} could not be copied: {error}") from error
    finally:
        remove_tree(staging)
    _mark(folder, version, library_path)
    return Interpreter(folder, version, folder / library_path if library_path else None)


def _probe(folder: Path, short: str, library_path: str | None) -> None:
    own = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    if library_path:
        own["LD_LIBRARY_PATH"] = str(folder / library_path)
    done = subprocess.run(
        [str(folder / "bin" / f"python{short}"), "-I", "-c", _PROBE],
        capture_output=True,
        text=True,
        timeout=_QUERY_LIMIT_S,
        check=False,
        env=own,
    )
    if done.returncode != 0 or Path(done.stdout.strip()).resolve() != folder.resolve():
        raise BuildError(
            f"the copied interpreter does not stand on its own: {gist(done.stdout + done.stderr)}"
        )


def _mark(folder: Path, version: str, library_path: str | None) -> None:
    content = {"version": version, "library_path": library_path}
    write_whole(folder / _READY, json.dumps(content) + "\n")
