"""EON (BSD-3-Clause), built once from what the package index and Debian 12 have.

pip cannot build it there: its sources want `<format>` of C++20, which g++ 12 lacks, and crates
for Rust. Here the functions of `<format>` are those of {fmt}, its model (Debian's libfmt-dev),
and the crate readcon-core is the one inside the wheel `readcon`, whose Python module exports the
C functions too; that module wants the symbols of libpython3.11, which Debian 12 has. Meson and
EON's server (Python) lie in an environment of their own.

A build lies where it stays, and becomes visible by the marker written last, after a test. What
was compiled before a build was killed is not compiled again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from pyacemaker.files import cache_dir, locked, sha256_of, write_whole
from pyacemaker.parts.debian import demand_debian_12, install_packages
from pyacemaker.parts.environments import (
    Environment,
    EnvironmentSpec,
    Say,
    environment,
    found_environment,
)
from pyacemaker.parts.sources import Archive, PartError, fetch_package, unpacked
from pyacemaker.process import run_program

SERVER, CLIENT = "eon-server", "eonclient"

_SOURCES = Archive(
    "eon_akmc-3.6.0.tar.gz",
    "31a5bc0b21df04fa462eafcdf8bddf1bd20b5bf2d4375ada47c12d4239e24727",
    (
        "client",
        "eon",
        "include",
        "meson.build",
        "meson_options.txt",
        "pyproject.toml",
        "schema",
        "scripts",
        "subprojects/inih-r62",
        "subprojects/inih.wrap",
        "subprojects/nlohmann_json-3.12.0",
        "subprojects/nlohmann_json.wrap",
        "subprojects/packagefiles",
        "subprojects/potentials-schema",
        "subprojects/potentials-schema.wrap",
        "subprojects/quill-11.1.0",
        "subprojects/quill.wrap",
        "subprojects/readcon-core/include",
        "subprojects/rgpot",
        "subprojects/rgpot.wrap",
        "tools/gitversion.py",
    ),
)
_READCON_MODULE = "readcon/readcon.cpython-311-x86_64-linux-gnu.so"
_READCON = Archive(
    "readcon-0.16.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "348465619afa735423afaacb5f3de3fa6ed48cc916be2b5e6b971adde51b07db",
    (_READCON_MODULE,),
)

_DEBIAN = (
    "capnproto",
    "g++",
    "gfortran",
    "libcapnp-dev",
    "libeigen3-dev",
    "libfmt-dev",
    "libpython3.11-dev",
    "pkgconf",
)
# -O1: one unit with -O3 takes g++ six minutes, and the time of a search goes into the potential.
_OPTIONS = (
    "--buildtype=release",
    "--wrap-mode=nodownload",
    "-Doptimization=1",
    "-Dwith_cuh2=false",
    "-Dwith_gprd=disabled",
    "-Dwith_tests=false",
)
_FORMAT = """\
// <format> of C++20 for compilers without it: the same functions by {fmt}, its model.
#pragma once
#define FMT_HEADER_ONLY
#include <fmt/format.h>
#include <fmt/ranges.h>
namespace std {
using fmt::format;
using fmt::format_error;
using fmt::format_to;
using fmt::format_to_n;
using fmt::formatter;
using fmt::make_format_args;
using fmt::vformat;
}
"""
_SPEC = EnvironmentSpec(
    name="eon",
    pins=(
        "eon-schema==0.2.4",
        "meson==1.12.1",
        "ninja==1.13.2",
        "numpy==2.4.6",
        "pyyaml==6.0.4",
        "readcon==0.17.1",
        "readcon-db==0.2.0",
        "vesin==0.6.2",
        "xxhash==4.1.0",
    ),
    constraints=(
        "annotated-types==0.8.0",
        "pydantic==2.14.4",
        "pydantic-core==2.50.5",
        "typing-extensions==4.16.0",
        "typing-inspection==0.4.5",
    ),
    smoke_test="import mesonbuild, numpy, readcon, readcon_db, vesin, xxhash, yaml",
    size_MB=150,
)
_READY = "READY.json"
_LIMIT_S = 4 * 3600.0
_CONFIGURE_LIMIT_S = 900.0
_BUILD_MB = 1000
_TELL_S = 60.0
_STEP = re.compile(r"^\[(\d+)/(\d+)\]", re.MULTILINE)


def found_eon() -> Path | None:
    """Return the folder of `eon-server` and `eonclient` if the cache has a whole build."""
    folder = _folder()
    try:
        record = json.loads((folder / _READY).read_text())
        whole = record["sha256"] == sha256_of(folder / "bin" / CLIENT)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # The server wants an environment of this Python: where it has another, the build goes on.
    python, server = found_environment(_SPEC), folder / "bin" / SERVER
    ready = python is not None and server.is_file() and str(python.python) in server.read_text()
    return folder / "bin" if whole and ready else None


def build_eon(
    say: Say = lambda _: None, *, jobs: int | None = None, timeout_s: float = _LIMIT_S
) -> Path:
    """Return the folder of EON's programs, built first where the cache has none.

    Parameters
    ----------
    say
        Told, in plain words, what is being done.
    jobs
        Compilers run at the same time, each with up to 1.5 GB; by default one a core.
    timeout_s
        Seconds after which the compilers are stopped.

    Raises
    ------
    PartError
        Another system than Debian 12 on x86_64, a package that is missing, no source, no
        space, a compile error (with the log to read) or a client that fails its test.
    """
    if (found := found_eon()) is not None:
        say(f"EON: already built ({found})")
        return found
    demand_debian_12("EON", "with conda: conda install -c conda-forge eon")
    folder = _folder()
    try:
        with locked(folder.with_name(f"{folder.name}.lock")):
            return found_eon() or _built(folder, say, jobs or _cores(), timeout_s)
    except OSError as error:
        raise PartError(
            f"EON cannot be built in {folder}: {error}; name another folder in PYACEMAKER_CACHE"
        ) from error


def _folder() -> Path:
    parts = [_SOURCES.sha256, _READCON.sha256, *_OPTIONS, _FORMAT, platform.machine()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return cache_dir().resolve() / "eon" / key[:12]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _built(folder: Path, say: Say, jobs: int, timeout_s: float) -> Path:
    from pyacemaker.parts.eon_smoke_test import run_smoke_test

    begun = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    free_MB = shutil.disk_usage(folder).free / 1e6
    if free_MB < _BUILD_MB:
        raise PartError(
            f"building EON takes {_BUILD_MB} MB and {folder} has {free_MB:.0f} MB free; free "
            "some, or name another disk's folder in PYACEMAKER_CACHE"
        )
    say(f"EON 3.6.0: built once, about an hour on one busy core, then kept in {folder}")
    install_packages(_DEBIAN, "building EON", folder / "apt.log", say)
    sources = unpacked(
        _SOURCES,
        lambda into: fetch_package("eon-akmc==3.6.0", _SOURCES.filename, into, say),
        say,
    )
    tools = environment(_SPEC, say)
    _write_settings(folder, sources, say)
    _compile(folder, sources, tools, say, jobs, timeout_s)
    _write_programs(folder, sources, tools)
    say("testing EON")
    run_smoke_test(folder / "bin" / SERVER, folder / "bin" / CLIENT, folder / "test")
    wall_s = time.monotonic() - begun
    record = {
        "version": "3.6.0",
        "sha256": sha256_of(folder / "bin" / CLIENT),
        "wall_s": round(wall_s, 1),
    }
    write_whole(folder / _READY, json.dumps(record, indent=2) + "\n")
    say(f"EON: built and tested in {wall_s / 60:.0f} min")
    return folder / "bin"


# ---- what Meson is told


def _write_settings(folder: Path, sources: Path, say: Say) -> None:
    """Write the header <format>, readcon-core as a library with its .pc, and the native file."""
    _keep(folder / "shim" / "format", _FORMAT)
    library = folder / "lib" / "libreadcon_core.so"
    if not library.is_file():  # written anew it would be linked anew
        wheel = unpacked(
            _READCON,
            lambda into: fetch_package("readcon==0.16.0", _READCON.filename, into, say),
            say,
        )
        write_whole(library, (wheel / _READCON_MODULE).read_bytes())
    include = sources / "subprojects" / "readcon-core" / "include"
    _keep(
        folder / "pkgconfig" / "readcon-core.pc",
        "Name: readcon-core\n"
        "Description: .con files, by the C functions in the wheel readcon\n"
        "Version: 0.16.0\n"
        f'Cflags: -I"{include}"\n'
        f'Libs: -L"{library.parent}" -lreadcon_core -lpython3.11 '
        f'-Wl,-rpath,"{library.parent}"\n',
    )
    _keep(
        folder / "native.ini",
        f"[built-in options]\ncpp_args = ['-I{folder / 'shim'}']\n"
        f"pkg_config_path = ['{folder / 'pkgconfig'}']\n",
    )


def _keep(path: Path, content: str) -> None:
    """Write a file unless it is as it should be: a newer one would be compiled for anew."""
    if not path.is_file() or path.read_text() != content:
        write_whole(path, content)


# ---- compiling


def _compile(
    folder: Path, sources: Path, tools: Environment, say: Say, jobs: int, timeout_s: float
) -> None:
    variables = tools.variables()
    build = folder / "build"
    if not (build / "build.ninja").is_file():
        say("configuring EON")
        shutil.rmtree(build, ignore_errors=True)  # of a configuration that was killed
        command = [
            str(tools.program("meson")),
            "setup",
            *_OPTIONS,
            f"--native-file={folder / 'native.ini'}",
            str(build),
            str(sources),
        ]
        log = folder / "configure.log"
        done = run_program(
            command, cwd=folder, stdout=log, timeout_s=_CONFIGURE_LIMIT_S, env=variables
        )
        if done.returncode != 0:
            shutil.rmtree(build, ignore_errors=True)
            raise PartError(f"EON cannot be configured ({done.describe()}): {_error_in(log)}")
    log = folder / "build.log"
    say(f"compiling EON with {jobs} compilers at a time; output: {log}")
    done = run_program(
        [str(tools.program("ninja")), f"-j{jobs}", "-C", str(build), "client/eonclient"],
        cwd=folder,
        stdout=log,
        timeout_s=timeout_s,
        env=variables,
        watch=_teller(log, say),
    )
    if done.timed_out:
        raise PartError(
            f"compiling EON was stopped after {done.wall_s / 60:.0f} min; run it again: what was "
            "compiled is kept"
        )
    if done.returncode != 0:
        raise PartError(f"EON does not compile ({done.describe()}): {_error_in(log)}")


def _teller(log: Path, say: Say) -> Callable[[int], str | None]:
    """Return a watch that tells, once a minute, how many steps of ninja are done."""
    begun = told_at = time.monotonic()

    def watch(_: int) -> str | None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= _TELL_S:
            told_at = now
            steps = _STEP.findall(log.read_text(errors="replace"))
            done, of = steps[-1] if steps else ("0", "?")
            say(f"compiled {done} of {of}, {(now - begun) / 60:.0f} min")
        return None

    return watch


def _error_in(log: Path) -> str:
    """Return the line that says most, and the log to read."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    errors = [line for line in lines if "error:" in line.lower()] or lines[-1:] or ["no output"]
    return f"{errors[0][:300]} (the whole output: {log})"


# ---- what is started


def _write_programs(folder: Path, sources: Path, tools: Environment) -> None:
    """Put the two programs into `bin`; the server's Python code is copied beside them."""
    python = folder / "python"
    shutil.rmtree(python, ignore_errors=True)
    shutil.copytree(sources / "eon", python / "eon")
    (folder / "bin").mkdir(exist_ok=True)
    server = folder / "bin" / SERVER
    write_whole(
        server,
        "#!/bin/sh\n"
        f'export PYTHONPATH="{python}" PYTHONNOUSERSITE=1\n'
        f'exec "{tools.python}" -m eon.server "$@"\n',
    )
    server.chmod(0o755)
    # The client looks for its libraries beside itself, where it was built: a link will do.
    client = folder / "bin" / CLIENT
    client.unlink(missing_ok=True)
    client.symlink_to(Path("..") / "build" / "client" / CLIENT)
