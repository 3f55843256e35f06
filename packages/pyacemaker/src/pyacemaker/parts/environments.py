"""Python environments of their own for programs whose pins do not go with ours; made by uv.

An environment lies in the user's cache under a name made of what is in it, so another set of
pins, or another Python, is another environment and an old campaign keeps its own. It is built
where it stays (scripts and compiled files of a virtual environment hold its path, so one that
is moved into place may not run) and becomes visible by the marker written last, after a
smoke test. What a killed build left behind has no marker, and is built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyacemaker.files import AlreadyLockedError, cache_dir, locked, write_whole
from pyacemaker.parts.sources import PartError, index_settings
from pyacemaker.process import run_program

Say = Callable[[str], None]

_READY = "READY.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SMOKE_TEST_LIMIT_S = 300.0
# What would let another environment's packages, or its interpreter, into this one.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "CONDA_PREFIX")


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an environment holds.

    `pins` are requirements with exact versions, installed with their dependencies;
    `constraints` fix the versions of these dependencies; `pins_alone` are installed after
    them without any. `smoke_test` is Python code that fails where something essential is
    missing. `size_MB` is the disk space it takes.
    """

    name: str
    pins: tuple[str, ...]
    smoke_test: str
    size_MB: int
    pins_alone: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name that is no file name."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"not a name for an environment: {self.name!r}")

    @property
    def key(self) -> str:
        """Return the hash of pins, Python and machine that names the environment's folder."""
        what = [
            self.name,
            list(self.pins),
            list(self.pins_alone),
            sorted(self.constraints),
            platform.python_implementation(),
            list(sys.version_info[:2]),
            [sys.platform, platform.machine()],
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Return where the environment lies, or would lie."""
        return cache_dir() / "environments" / f"{self.name}-{self.key}"


@dataclass(frozen=True)
class Environment:
    """An environment that passed its smoke test."""

    folder: Path

    @property
    def python(self) -> Path:
        """Return its interpreter."""
        return self.folder / "bin" / "python"

    def program(self, name: str) -> Path:
        """Return a program of the environment."""
        return self.folder / "bin" / name

    def variables(self, **more: str) -> dict[str, str]:
        """Return the environment variables to run its programs with, and `more` of them."""
        own = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
        own["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{own.get('PATH', os.defpath)}"
        own["VIRTUAL_ENV"] = str(self.folder)
        own["PYTHONNOUSERSITE"] = "1"
        return own | more


def found_environment(spec: EnvironmentSpec) -> Environment | None:
    """Return the environment if it is there and whole, without making it."""
    environment = Environment(spec.folder)
    if (spec.folder / _READY).is_file() and environment.python.exists():
        return environment  # the interpreter is a link: gone where its Python was removed
    return None


def environment(
    spec: EnvironmentSpec, say: Say = lambda _: None, timeout_s: float = 1800.0
) -> Environment:
    """Return the environment, made first where it is missing (by one process, others wait).

    Raises PartError, in one line with its remedy, where there is no uv, no space, no network
    or no package for this Python, when it takes longer than `timeout_s` or when the smoke
    test fails; the full output is kept in the log beside the environment's folder.
    """
    if found := found_environment(spec):
        return found
    lock = spec.folder.with_name(f"{spec.folder.name}.lock")
    try:
        with locked(lock, wait=False):
            return _made(spec, say, timeout_s)
    except AlreadyLockedError:
        say(f"waiting for another process that makes the environment {spec.name}")
    except OSError as error:
        raise PartError(
            f"the environment {spec.name} cannot be made in {spec.folder.parent}: {error}; "
            "name another folder in PYACEMAKER_CACHE"
        ) from error
    with locked(lock):
        return found_environment(spec) or _made(spec, say, timeout_s)


def _made(spec: EnvironmentSpec, say: Say, timeout_s: float) -> Environment:
    if found := found_environment(spec):
        return found
    folder, made = spec.folder, Environment(spec.folder)
    uv = _uv()
    _demand_space(spec)
    _remove(folder)
    deadline = time.monotonic() + timeout_s
    say(f"making the environment {spec.name} ({spec.size_MB} MB) in {folder}")
    empty = [uv, "venv", "--quiet", "--no-project", "-p", sys.executable, str(folder)]
    install = [uv, "pip", "install", "--quiet", "--python", str(made.python)]
    try:
        _run_step(spec, "making", empty, deadline, _uv_variables())
        constraints = folder / "constraints.txt"
        write_whole(constraints, "".join(f"{line}\n" for line in spec.constraints))
        fixed, alone = ["--constraints", str(constraints)], ["--no-deps"]
        for pins, options in ((spec.pins, fixed), (spec.pins_alone, alone)):
            if pins:
                say(f"installing {', '.join(pins)}")
                command = [*install, *options, *pins]
                _run_step(spec, "installing into", command, deadline, _uv_variables())
        say(f"testing the environment {spec.name}")
        test = [str(made.python), "-c", spec.smoke_test]
        limit = min(deadline, time.monotonic() + _SMOKE_TEST_LIMIT_S)
        _run_step(spec, "the smoke test of", test, limit, made.variables())
        content = {"name": spec.name, "pins": [*spec.pins, *spec.pins_alone]}
        write_whole(folder / _READY, json.dumps(content) + "\n")
    except BaseException:
        _remove(folder)
        raise
    return made


def _run_step(
    spec: EnvironmentSpec,
    what: str,
    command: Sequence[str],
    deadline: float,
    variables: dict[str, str],
) -> None:
    log = spec.folder.with_name(f"{spec.folder.name}.log")
    left_s = max(deadline - time.monotonic(), 1.0)
    finished = run_program(
        command, cwd=spec.folder.parent, stdout=log, timeout_s=left_s, env=variables
    )
    if finished.timed_out:
        raise PartError(
            f"{what} the environment {spec.name} was stopped after {finished.wall_s:.0f} s; "
            "run it again: what was downloaded is kept"
        )
    if finished.returncode != 0:
        said = log.read_text(errors="replace")
        raise PartError(
            f"{what} the environment {spec.name} failed ({finished.describe()}): "
            f"{_gist(said)}; {_remedy(said)} (output: {log})"
        )


def _gist(said: str) -> str:
    """Return the line that says most: uv's last cause, Python's last line."""
    lines = [line.strip(" \t│╰─▶×├╴|") for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("hint:", "warning:"))]
    return lines[-1][:300] if lines else "no output"


def _remedy(said: str) -> str:
    text = said.lower()
    if "no space left" in text or "disk quota exceeded" in text:
        return "free some disk space, or name a folder on another disk in PYACEMAKER_CACHE"
    unreachable = ("error sending request", "dns error", "connection", "network", "timed out")
    if any(sign in text for sign in unreachable):
        return (
            "check the network, or name an index that can be reached in UV_DEFAULT_INDEX or a "
            "folder of wheels in UV_FIND_LINKS"
        )
    if "no solution found" in text or "no wheels" in text or "not found in" in text:
        return (
            f"these versions may not exist for Python {platform.python_version()} on "
            f"{platform.machine()}, or the package index lacks them; try Python 3.11"
        )
    return "the output says more"


def _demand_space(spec: EnvironmentSpec) -> None:
    spec.folder.parent.mkdir(parents=True, exist_ok=True)
    free_MB = shutil.disk_usage(spec.folder.parent).free / 1e6
    if free_MB < spec.size_MB:
        raise PartError(
            f"the environment {spec.name} takes {spec.size_MB} MB and {spec.folder.parent} has "
            f"{free_MB:.0f} MB free; free some, or name another disk's folder in PYACEMAKER_CACHE"
        )


def _remove(folder: Path) -> None:
    # The marker first: a folder half removed must not look whole.
    (folder / _READY).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise PartError("there is no uv to make an environment with; install it: pip install uv")
    return found


def _uv_variables() -> dict[str, str]:
    """Return the variables that let uv look where the user's pip looks, unless uv was told."""
    settings = index_settings()
    own = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    own["UV_NO_PROGRESS"] = "1"
    wanted: dict[str, str] = {}
    if settings.index_urls and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & own.keys():
        wanted["UV_DEFAULT_INDEX"] = settings.index_urls[0]
        if len(settings.index_urls) > 1:
            wanted["UV_INDEX"] = " ".join(settings.index_urls[1:])
            wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # all of them, as pip does
    if settings.find_links:
        wanted["UV_FIND_LINKS"] = ",".join(settings.find_links)
    if settings.trusted_hosts:
        wanted["UV_INSECURE_HOST"] = " ".join(settings.trusted_hosts)
    if settings.certificate:
        wanted["SSL_CERT_FILE"] = settings.certificate
    return wanted | own
