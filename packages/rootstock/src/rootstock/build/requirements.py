"""The lock: every requirement with its version and hashes, kept beside the environment file.

It is made once and then holds, so that an environment that is built again, here or in a copy
of the root, is the same. It is made anew when the requirements in the file change, or for
another Python, platform or device; `rootstock build --relock` asks for newer versions.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rootstock.build.indexes import find_uv, local_cpu_torch, uv_variables
from rootstock.build.interpreter import Interpreter
from rootstock.build.programs import Log, Say, run
from rootstock.root.errors import BuildError, SourceError
from rootstock.root.files import write_whole
from rootstock.root.layout import Layout
from rootstock.root.source import EnvironmentSource

LOCK_LIMIT_S = 900.0
_HEADER = "# rootstock: "
# The worker is written in them, whatever the model needs.
_ALWAYS = ("ase", "numpy")


@dataclass(frozen=True)
class Platform:
    """What a lock is made for; `torch_backend` is uv's, or None for its default index."""

    python: str
    device: str
    torch_backend: str | None


def lock(
    layout: Layout,
    source: EnvironmentSource,
    interpreter: Interpreter,
    platform_: Platform,
    log: Log,
    say: Say,
    *,
    anew: bool = False,
) -> Path:
    """Return the lock file of an environment, made first where it is missing or out of date."""
    path = layout.lock_file(source.name)
    wanted = _header(source, platform_)
    if not anew and path.is_file() and path.read_text().partition("\n")[0] == wanted:
        say(f"the lock {path.name} holds")
        return path
    say(f"locking {', '.join(source.dependencies)}")
    work = layout.locks / f"{source.name}.requirements"
    work.mkdir(exist_ok=True)
    files = {
        "requirements.in": (*source.dependencies, *_ALWAYS),
        "overrides.txt": [f"{name}; python_version < '0'" for name in source.facts.exclude],
        "constraints.txt": _constraints(platform_),
    }
    for name, lines in files.items():
        write_whole(work / name, "".join(f"{line}\n" for line in lines))
    output = work / "requirements.lock"
    output.unlink(missing_ok=True)
    command = [
        find_uv(), "pip", "compile", "--quiet", "--no-header", "--generate-hashes",
        "--no-emit-index-url", "--no-emit-find-links", "--no-annotate",
        "--python", str(interpreter.python),
        "--overrides", str(work / "overrides.txt"),
        "--constraints", str(work / "constraints.txt"),
        *backend_options(platform_),
        str(work / "requirements.in"), "--output-file", str(output),
    ]  # fmt: skip
    run(
        f"locking the requirements of {source.name}",
        command, log=log, timeout_s=LOCK_LIMIT_S, env=uv_variables(), cwd=layout.folder, say=say,
    )  # fmt: skip
    write_whole(path, f"{wanted}\n{output.read_text()}")
    return path


def check_requirements(source: EnvironmentSource) -> None:
    """Demand that requirements and the Python wanted can be read. Raises SourceError."""
    try:
        SpecifierSet(source.requires_python)
    except InvalidSpecifier as error:
        raise SourceError(f"{source.path}: requires-python: {error}") from None
    for dependency in source.dependencies:
        try:
            Requirement(dependency)
        except InvalidRequirement as error:
            why = " ".join(str(error).split())
            raise SourceError(f"{source.path}: {dependency!r} is no requirement: {why}") from None


def wanted_platform(
    source: EnvironmentSource, interpreter: Interpreter, device: str, torch_backend: str | None
) -> Platform:
    """Return what to lock for.

    For the CPU uv is sent to PyTorch's own index, unless a folder of wheels holds torch's CPU
    build already; the package index alone would bring gigabytes of CUDA.
    """
    if device not in ("cpu", "cuda"):
        raise BuildError(f"no such device to build for: {device!r}; there are cpu and cuda")
    if torch_backend is None and device == "cpu" and sys.platform == "linux":
        local = [v for v in local_cpu_torch(uv_variables()) if _wanted_torch(source).contains(v)]
        torch_backend = None if local else "cpu"
    return Platform(interpreter.version.rpartition(".")[0], device, torch_backend)


def backend_options(platform_: Platform) -> list[str]:
    """Return uv's options for the wanted build of torch."""
    return ["--torch-backend", platform_.torch_backend] if platform_.torch_backend else []


def locked_packages(path: Path) -> dict[str, str]:
    """Return the versions in a lock file by package."""
    pairs = (
        line.split(" ")[0].partition("==")
        for line in path.read_text().splitlines()
        if "==" in line and not line.startswith(("#", " "))
    )
    return {name: version for name, _, version in pairs}


def _wanted_torch(source: EnvironmentSource) -> SpecifierSet:
    """Return the versions of torch that the dependencies allow."""
    parsed = (Requirement(dependency) for dependency in source.dependencies)
    wanted = [requirement.specifier for requirement in parsed if requirement.name == "torch"]
    return wanted[0] if wanted else SpecifierSet()


def _constraints(platform_: Platform) -> list[str]:
    """Keep torch's CPU build in a folder of wheels from outranking the CUDA build."""
    if platform_.device == "cpu":
        return []
    return [f"torch!={version}" for version in local_cpu_torch(uv_variables())]


def _header(source: EnvironmentSource, platform_: Platform) -> str:
    what = {
        "environment": source.name,
        "requirements": [*source.dependencies, *(f"!{name}" for name in source.facts.exclude)],
        "python": platform_.python,
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": platform_.device,
        "torch": platform_.torch_backend or "index",
    }
    return _HEADER + json.dumps(what)
