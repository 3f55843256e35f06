"""`manifest.json`: what is built in a root, what was verified, and the checksums of it all.

Every built environment also carries its own record, written before it is swapped in, so a
build that is killed between the swap and the manifest's update is not lost: whoever reads
the manifest takes the record of the version that is in use.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rootstock.root.errors import RootError
from rootstock.root.files import locked, write_whole
from rootstock.root.layout import Layout

FORMAT = "rootstock-root"
FORMAT_VERSION = 1
RECORD = "rootstock-environment.json"


def now() -> str:
    """Return the time as it stands in a manifest: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Failure:
    """The newest failure of a build or a verification."""

    time: str
    message: str


@dataclass(frozen=True)
class EnvironmentRecord:
    """One built environment. Paths are relative to the root."""

    name: str
    version: str  # the folder's name under envs/.versions
    built: str
    wall_s: float
    size_bytes: int
    source_sha256: str
    lock_sha256: str
    device: str  # what its torch was installed for: cpu or cuda
    python: str
    interpreter: str
    library_path: str | None
    rootstock: str
    rootstock_sha256: str
    uv: str
    packages: dict[str, str]
    aliases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verification:
    """A smoke test that passed (energies eV, forces eV/angstrom, stress eV/angstrom^3)."""

    time: str
    version: str
    formula: str
    energy_eV: float
    force_error_eV_per_A: float | None
    stress_error_eV_per_A3: float | None
    load_s: float
    call_s: float


@dataclass
class ModelRecord:
    """One model: an environment and the argument its `setup` gets."""

    environment: str
    argument: str
    path: str | None = None  # of registered weights, relative to the root
    weights: dict[str, str] = field(default_factory=dict)  # relative path -> SHA-256
    size_bytes: int = 0
    elements: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    verified: dict[str, Verification] = field(default_factory=dict)  # by device
    last_error: Failure | None = None


@dataclass
class Manifest:
    """The contents of a root's manifest."""

    environments: dict[str, EnvironmentRecord] = field(default_factory=dict)
    models: dict[str, ModelRecord] = field(default_factory=dict)
    errors: dict[str, Failure] = field(default_factory=dict)  # by environment

    def to_text(self) -> str:
        """Return the file's text."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        return json.dumps(head | asdict(self), indent=2, sort_keys=True) + "\n"


def read_manifest(layout: Layout) -> Manifest:
    """Read a root's manifest, with the records of versions swapped in behind its back.

    Raises RootError naming the file and what is wrong with it.
    """
    try:
        data = json.loads(layout.manifest.read_text(encoding="utf-8"))
        manifest = _from_json(data)
    except OSError as error:
        raise RootError(f"{layout.manifest} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RootError(
            f"{layout.manifest} is not a rootstock manifest ({error}); move it aside and run "
            "rootstock init on the root: built environments are found again by their records"
        ) from None
    _reconcile(layout, manifest)
    return manifest


@contextlib.contextmanager
def changed_manifest(layout: Layout) -> Iterator[Manifest]:
    """Give the manifest to be changed, under a lock, and write it whole afterwards."""
    with locked(layout.locks / "manifest.lock"):
        manifest = read_manifest(layout)
        yield manifest
        write_whole(layout.manifest, manifest.to_text())


def read_record(folder: Path) -> EnvironmentRecord | None:
    """Return the record of a built environment, or None where it was never finished."""
    try:
        return EnvironmentRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(folder: Path, record: EnvironmentRecord) -> None:
    """Write the record that makes a version whole."""
    write_whole(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")


def _reconcile(layout: Layout, manifest: Manifest) -> None:
    for name, record in list(manifest.environments.items()):
        if (folder := layout.current(name)) is None:
            del manifest.environments[name]
        elif folder.name != record.version and (found := read_record(folder)) is not None:
            manifest.environments[name] = found
    if not layout.envs.is_dir():
        return
    for link in layout.envs.glob("*_env"):
        folder = layout.current(link.name)
        if folder is not None and link.name not in manifest.environments:
            found = read_record(folder)
            if found is not None:
                manifest.environments[link.name] = found


def _from_json(data: dict[str, Any]) -> Manifest:
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}")
    if data["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"its format_version is {data['format_version']}, and this rootstock knows "
            f"{FORMAT_VERSION}"
        )
    return Manifest(
        environments={k: EnvironmentRecord(**v) for k, v in data["environments"].items()},
        models={k: _model(v) for k, v in data["models"].items()},
        errors={k: Failure(**v) for k, v in data["errors"].items()},
    )


def _model(data: dict[str, Any]) -> ModelRecord:
    fields = dict(data)
    fields["verified"] = {k: Verification(**v) for k, v in fields["verified"].items()}
    if fields["last_error"] is not None:
        fields["last_error"] = Failure(**fields["last_error"])
    return ModelRecord(**fields)
