"""The environment files that come with rootstock."""

from __future__ import annotations

from pathlib import Path

import rootstock.environments
from rootstock.root.source import EnvironmentSource, read_source

FOLDER = Path(next(iter(rootstock.environments.__path__)))
BUILT_IN = ("emt", "lj")


def shipped_source(environment: str) -> Path | None:
    """Return the shipped file of an environment (``chgnet_env``), or None."""
    path = FOLDER / f"{environment}.py"
    return path if path.is_file() else None


def shipped_sources() -> dict[str, EnvironmentSource]:
    """Return every shipped environment by its name."""
    return {p.stem: read_source(p) for p in sorted(FOLDER.glob("*_env.py"))}


def built_in_source(name: str) -> Path:
    """Return the file of a model that needs no environment of its own."""
    return FOLDER / f"{name}.py"
