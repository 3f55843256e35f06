"""The user's EON: its two programs, found or named."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from pyacemaker.dynamics.base import DynamicsError

SERVER, CLIENT = "eon-server", "eonclient"
_REMEDY = (
    "No package index has a build of EON for this machine; install it (conda: `conda install -c "
    "conda-forge eon`, or its own sources), put eon-server and eonclient on the PATH or name "
    "their folder with kmc.eon, or use kmc.engine: builtin"
)


@dataclass(frozen=True)
class Installation:
    """Paths of eon-server (the walk) and eonclient (the saddle searches)."""

    server: str
    client: str


def find_eon(folder: str | None) -> Installation:
    """Return EON's programs, from `folder` or from the PATH.

    Raises DynamicsError with the remedy where one of them is missing.
    """
    found = {name: shutil.which(name, path=folder) for name in (SERVER, CLIENT)}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        where = f"in {folder}" if folder else "on the PATH"
        raise DynamicsError(
            f"kmc.engine: eon is unavailable: {' and '.join(missing)} not found {where}. {_REMEDY}"
        )
    return Installation(str(found[SERVER]), str(found[CLIENT]))
