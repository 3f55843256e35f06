"""Clusters whose root is known by name, and those a user or a site adds.

A site's own are in ``rootstock/clusters.yaml`` under `XDG_CONFIG_DIRS` (`/etc/xdg`), a user's
under `XDG_CONFIG_HOME` (`~/.config`); the user's win:

    clusters:
      mycluster: /shared/rootstock
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rootstock.root.errors import RootError
from rootstock.root.nearest import nearest

BUILT_IN = {"modal": "/vol/rootstock", "della": "/scratch/gpfs/SHARED/rootstock"}


@dataclass(frozen=True)
class Cluster:
    """A cluster's root and where that was read."""

    name: str
    root: Path
    source: str


def cluster_root(name: str) -> Path:
    """Return the root of a cluster. Raises RootError naming the nearest, and all known."""
    known = clusters()
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise RootError(
            f"no cluster {name!r} is known{hint} (known: {', '.join(sorted(known))}; "
            f"add yours to {config_files()[-1]})"
        )
    return known[name].root


def clusters() -> dict[str, Cluster]:
    """Return every known cluster. Raises RootError for a file that is not as it should be."""
    found = {n: Cluster(n, Path(root), "built in") for n, root in BUILT_IN.items()}
    for path in config_files():
        for name, root in _read(path).items():
            found[name] = Cluster(name, root, str(path))
    return found


def config_files() -> tuple[Path, ...]:
    """Return the files that may name clusters, the user's last."""
    sites = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folders = [*(Path(site) for site in reversed(sites.split(":")) if site), Path(home)]
    return tuple(folder / "rootstock" / "clusters.yaml" for folder in folders)


def _read(path: Path) -> dict[str, Path]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    import yaml

    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RootError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    table = data.get("clusters", {}) if isinstance(data, dict) else None
    if not isinstance(table, dict) or set(data) - {"clusters"}:
        raise RootError(f"{path}: it must hold one key, clusters, with names and their roots")
    roots: dict[str, Path] = {}
    for name, root in table.items():
        if not isinstance(root, str) or not Path(root).expanduser().is_absolute():
            raise RootError(f"{path}: the root of {name} must be an absolute path, not {root!r}")
        roots[str(name)] = Path(root).expanduser()
    return roots
