"""EON's two programs: named, found, or built."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.parts.eon import CLIENT, SERVER, found_eon

_REMEDY = (
    "Build it, on Debian 12: `pyacemaker build-eon`. Elsewhere with conda: `conda install -c "
    "conda-forge eon`; then put eon-server and eonclient on the PATH or name their folder with "
    "kmc.eon. Or use kmc.engine: builtin"
)


@dataclass(frozen=True)
class Installation:
    """Paths of eon-server (the walk) and eonclient (the saddle searches)."""

    server: str
    client: str


def find_eon(folder: str | None) -> Installation:
    """Return EON's programs: from `folder`, else from the PATH, else what `build-eon` built.

    Raises DynamicsError with the remedy where one of them is missing.
    """
    found = {name: shutil.which(name, path=folder) for name in (SERVER, CLIENT)}
    missing = [name for name, path in found.items() if path is None]
    if missing and folder is None and (built := found_eon()) is not None:
        return Installation(str(built / SERVER), str(built / CLIENT))
    if missing:
        where = f"in {folder}" if folder else "on the PATH"
        raise DynamicsError(
            f"kmc.engine: eon is unavailable: {' and '.join(missing)} not found {where}. {_REMEDY}"
        )
    return Installation(str(found[SERVER]), str(found[CLIENT]))
