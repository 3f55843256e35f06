"""Taking a model or an environment out of a root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rootstock.build.verify import writable
from rootstock.root.errors import RootError
from rootstock.root.files import locked, remove_tree, size_of_tree
from rootstock.root.layout import Layout, environment_name, short_name
from rootstock.root.manifest import changed_manifest, read_manifest
from rootstock.root.nearest import nearest


@dataclass(frozen=True)
class Removal:
    """What would go: one model, or an environment with all its models and files."""

    environment: str
    models: tuple[str, ...]
    folders: tuple[Path, ...]
    whole_environment: bool

    @property
    def size_bytes(self) -> int:
        """What it frees."""
        return sum(size_of_tree(f) if f.is_dir() else f.stat().st_size for f in self.folders)


def plan_removal(layout: Layout, name: str) -> Removal:
    """Return what `name`, a model or an environment, means. Raises RootError for neither."""
    manifest = read_manifest(layout)
    environment = environment_name(name)
    record = manifest.models.get(name)
    there = layout.source(environment).exists() or environment in manifest.environments
    if there and (record is None or record.argument == ""):
        models = tuple(n for n, m in manifest.models.items() if m.environment == environment)
        candidates = [
            *layout.versions.glob(f"{environment}-2*"),
            layout.weights / environment,
            layout.source(environment),
            layout.lock_file(environment),
        ]
        folders = tuple(path for path in candidates if path.exists())
        return Removal(environment, models, folders, whole_environment=True)
    if record is not None:
        others = {w for n, m in manifest.models.items() if n != name for w in m.weights}
        own = [layout.folder / w for w in record.weights if w not in others]
        folders = tuple(path for path in own if path.exists())
        return Removal(record.environment, (name,), folders, whole_environment=False)
    known = [*manifest.models, *(short_name(e) for e in manifest.environments)]
    near = nearest(name, known)
    hint = f"; did you mean {near}?" if near else ""
    raise RootError(f"{layout.folder} has no model or environment {name!r}{hint}")


def remove(layout: Layout, removal: Removal) -> None:
    """Remove it: first out of use, then out of the manifest, then its files."""
    writable(layout)
    with locked(layout.locks / f"{removal.environment}.lock"):
        if removal.whole_environment:
            (layout.envs / removal.environment).unlink(missing_ok=True)
        with changed_manifest(layout) as manifest:
            for name in removal.models:
                manifest.models.pop(name, None)
            if removal.whole_environment:
                manifest.environments.pop(removal.environment, None)
                manifest.errors.pop(removal.environment, None)
        for path in removal.folders:
            remove_tree(path)
            if not removal.whole_environment and not any(path.parent.iterdir()):
                path.parent.rmdir()
