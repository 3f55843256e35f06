"""Where things lie in a root.

    ROOT/
      manifest.json        what is built and verified, with checksums
      environments/        chgnet_env.py (PEP 723 source), chgnet_env.lock
      envs/                chgnet_env -> .versions/chgnet_env-20260401T120000-1a2b3c
      cache/               huggingface/ torch/ xdg/ home/ (of the models), weights/ (registered)
      logs/                the newest build of each environment
      .python/             interpreters
      .locks/              who builds what

Nothing inside names the root by its own path, so the root may be moved, and nothing is
written when a model is used, so it may be read-only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rootstock.root.errors import RootError

ROOT_VARIABLE = "ROOTSTOCK_ROOT"
SUFFIX = "_env"


@dataclass(frozen=True)
class Layout:
    """The paths of a root."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """What is built and verified."""
        return self.folder / "manifest.json"

    @property
    def environments(self) -> Path:
        """Environment files and their locks."""
        return self.folder / "environments"

    @property
    def envs(self) -> Path:
        """One link for each environment, to the version in use."""
        return self.folder / "envs"

    @property
    def versions(self) -> Path:
        """The built environments."""
        return self.envs / ".versions"

    @property
    def cache(self) -> Path:
        """The caches of the models' libraries."""
        return self.folder / "cache"

    @property
    def weights(self) -> Path:
        """Registered weights."""
        return self.cache / "weights"

    @property
    def logs(self) -> Path:
        """Output of the newest build of each environment."""
        return self.folder / "logs"

    @property
    def interpreters(self) -> Path:
        """Python interpreters."""
        return self.folder / ".python"

    @property
    def locks(self) -> Path:
        """Lock files that say who builds what."""
        return self.folder / ".locks"

    def source(self, environment: str) -> Path:
        """Return the environment file of that name."""
        return self.environments / f"{environment}.py"

    def lock_file(self, environment: str) -> Path:
        """Return the file of pinned and hashed requirements kept beside the source."""
        return self.environments / f"{environment}.lock"

    def current(self, environment: str) -> Path | None:
        """Return the folder of the version in use, or None where none is built."""
        link = self.envs / environment
        try:
            folder = link.parent / link.readlink()
        except OSError:  # no such link, or another build takes it away right now
            return None
        return folder if folder.is_dir() else None

    def folders(self) -> tuple[Path, ...]:
        """Return every folder that a root has from the beginning."""
        cache = [self.cache / name for name in ("huggingface", "torch", "xdg", "home", "fairchem")]
        return (
            self.environments,
            self.versions,
            *cache,
            self.weights,
            self.logs,
            self.interpreters,
            self.locks,
        )


def environment_name(name: str) -> str:
    """Return the environment's full name: ``chgnet`` and ``chgnet_env`` are ``chgnet_env``."""
    return name if name.endswith(SUFFIX) else f"{name}{SUFFIX}"


def short_name(environment: str) -> str:
    """Return the name that model strings begin with: ``chgnet`` for ``chgnet_env``."""
    return environment.removesuffix(SUFFIX)


def open_root(folder: Path | str) -> Layout:
    """Return the layout of an existing root. Raises RootError where there is none."""
    layout = Layout(Path(os.path.abspath(Path(folder).expanduser())))  # noqa: PTH100 - links stay
    if not layout.manifest.is_file():
        what = "no such folder" if not layout.folder.exists() else "it has no manifest.json"
        raise RootError(
            f"{layout.folder} is not a rootstock root ({what}); "
            f"make one: rootstock init --root {layout.folder}"
        )
    return layout
