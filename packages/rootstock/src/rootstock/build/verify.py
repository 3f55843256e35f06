"""Whether what was built is still what it was, and still gives right numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootstock.build.models import Bench, smoke_test
from rootstock.build.programs import Log, Say
from rootstock.root.errors import BuildError, RootError, UnknownModelError
from rootstock.root.files import sha256_of, sha256_of_tree
from rootstock.root.layout import Layout
from rootstock.root.manifest import (
    EnvironmentRecord,
    Failure,
    Manifest,
    ModelRecord,
    Verification,
    changed_manifest,
    now,
    read_manifest,
)
from rootstock.root.resolve import built_facts, split_model


@dataclass(frozen=True)
class Verdict:
    """What verification found for one model; `problem` is None where all is well."""

    model: str
    device: str
    problem: str | None
    verification: Verification | None


def verify(
    layout: Layout,
    models: tuple[str, ...],
    device: str,
    say: Say,
    *,
    checksums_only: bool = False,
    setup_options: Mapping[str, Any] | None = None,
) -> Iterator[Verdict]:
    """Verify models, all of the root's by default, and record what was found.

    A root that cannot be written to is verified all the same; nothing is recorded then.
    Raises UnknownModelError for a model that the root does not have.
    """
    manifest = read_manifest(layout)
    for name, record in _chosen(layout, manifest, models).items():
        found: Verification | None = None
        problem = _broken(layout, manifest, record)
        if problem is None and not checksums_only:
            try:
                bench = bench_of(layout, manifest.environments[record.environment], say)
                found = smoke_test(bench, record, name, device, setup_options or {})
            except BuildError as error:
                problem = str(error)
        _keep(layout, name, device, problem, found, say)
        yield Verdict(name, device, problem, found)


def bench_of(layout: Layout, record: EnvironmentRecord, say: Say) -> Bench:
    """Return where models of a built environment are tried."""
    folder = layout.versions / record.version
    try:
        log = Log(layout.logs / f"{record.name}.verify.log")
        log.begin()
    except OSError:
        log = Log(Path(tempfile.gettempdir()) / f"rootstock-{record.name}.verify.log")
        log.begin()
    library_path = layout.folder / record.library_path if record.library_path else None
    facts = built_facts(layout, record.name)
    return Bench(layout, folder, record.name, facts, library_path, log, say)


def writable(layout: Layout) -> None:
    """Raise RootError where the root cannot be written to."""
    try:
        with tempfile.TemporaryFile(dir=layout.locks):
            pass
    except OSError as error:
        raise RootError(f"{layout.folder} cannot be written to: {error.strerror}") from None


def broken_weights(layout: Layout, record: ModelRecord) -> str | None:
    """Return what is wrong with a model's weights by their checksums, or None."""
    for relative, stated in record.weights.items():
        path = layout.folder / relative
        if not path.is_file():
            return f"{path} is missing"
        if sha256_of(path) != stated:
            return f"{path} is not what it was: its SHA-256 differs from the manifest's"
    return None


def _broken(layout: Layout, manifest: Manifest, record: ModelRecord) -> str | None:
    environment = manifest.environments.get(record.environment)
    folder = layout.current(record.environment)
    if environment is None or folder is None:
        return f"{record.environment} is not built"
    if sha256_of(folder / f"{record.environment}.py") != environment.source_sha256:
        return f"{folder / f'{record.environment}.py'} is not what it was built from"
    installed = next(iter((folder / "lib").glob("python3.*/site-packages/rootstock")), None)
    if installed is None or sha256_of_tree(installed, "*.py") != environment.rootstock_sha256:
        return f"the rootstock inside {folder} is not what was put there; build it anew"
    return broken_weights(layout, record)


def _chosen(layout: Layout, manifest: Manifest, models: tuple[str, ...]) -> dict[str, ModelRecord]:
    if not models:
        return dict(manifest.models)
    chosen = {}
    for model in models:
        environment, argument = split_model(layout, manifest, model)
        same = [
            (n, r)
            for n, r in manifest.models.items()
            if (r.environment, r.argument) == (environment, argument)
        ]
        if not same and environment not in manifest.environments:
            raise UnknownModelError(f"{model}: {environment} is not built in {layout.folder}")
        name, record = same[0] if same else (model, ModelRecord(environment, argument))
        chosen[name] = record
    return chosen


def _keep(
    layout: Layout,
    name: str,
    device: str,
    problem: str | None,
    found: Verification | None,
    say: Say,
) -> None:
    try:
        writable(layout)
    except RootError:
        say("the root is read-only: what was found is not recorded")
        return
    with changed_manifest(layout) as manifest:
        if (record := manifest.models.get(name)) is None:
            return
        if problem is not None:
            record.last_error = Failure(now(), problem)
            record.verified = {d: v for d, v in record.verified.items() if d != device}
        elif found is not None:
            record.verified = {**record.verified, device: found}
            record.last_error = None
