"""Debian's packages that a build needs: looked for, and installed where this user may."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pyacemaker.parts.sources import PartError, Say
from pyacemaker.process import run_program

_APT_LIMIT_S = 1800.0


def demand_debian_12(what: str, otherwise: str) -> None:
    """Raise PartError, with what can be done `otherwise`, unless this is Debian 12 on x86_64."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    named = f"{system.get('ID', platform.system())} {system.get('VERSION_ID', '')}".strip()
    if named != "debian 12" or platform.machine() != "x86_64":
        raise PartError(
            f"{what} is built on Debian 12 on x86_64, and this is {named} on "
            f"{platform.machine()}; {otherwise}"
        )


def missing_packages(names: Sequence[str]) -> list[str]:
    """Return those of `names` that dpkg does not have as installed."""
    missing = []
    for name in names:
        shown = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if shown.stdout != "installed":
            missing.append(name)
    return missing


def install_packages(names: Sequence[str], what: str, log: Path, say: Say) -> None:
    """Install what is missing of `names`, as root; `log` takes apt's output.

    Raises PartError: with the command for root where this user is not, or with the log to read.
    """
    missing = missing_packages(names)
    if not missing:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise PartError(f"{what} takes Debian's packages; as root: {' '.join(install)}")
    say(f"installing Debian's {', '.join(missing)}")
    for command in (["apt-get", "update"], install):
        done = run_program(
            command,
            cwd=log.parent,
            stdout=log,
            timeout_s=_APT_LIMIT_S,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode != 0:
            raise PartError(f"{' '.join(command)}: {done.describe()}; its output: {log}")
