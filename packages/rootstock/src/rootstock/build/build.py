"""`rootstock build`: an environment from its file to in use, or nothing changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rootstock.build.indexes import uv_version
from rootstock.build.interpreter import ensure_interpreter
from rootstock.build.models import Bench, fetch, import_test, smoke_test
from rootstock.build.programs import Log, Say
from rootstock.build.requirements import check_requirements, lock, locked_packages, wanted_platform
from rootstock.build.verify import writable
from rootstock.build.version import (
    make_version,
    new_version_folder,
    package_sha256,
    package_version,
    sweep,
)
from rootstock.root.errors import BuildError, RootError, SourceError
from rootstock.root.files import (
    AlreadyLockedError,
    locked,
    point_link,
    remove_tree,
    sha256_of,
    size_of_tree,
)
from rootstock.root.layout import Layout, environment_name, short_name
from rootstock.root.manifest import (
    EnvironmentRecord,
    Failure,
    Manifest,
    ModelRecord,
    changed_manifest,
    now,
    read_manifest,
    write_record,
)
from rootstock.root.nearest import nearest
from rootstock.root.resolve import is_path, registered
from rootstock.root.shipped import BUILT_IN, shipped_source, shipped_sources
from rootstock.root.source import EnvironmentSource, read_source


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes
    ----------
    models
        Arguments whose weights are fetched and which are tested; None for the default of the
        environment file, empty for none.
    device
        What torch is installed for, and what the smoke test runs on: ``cpu`` or ``cuda``.
    test_device
        Where the smoke test runs if not on `device` (a login node has no GPU).
    force
        Build even where nothing changed.
    relock
        Look for newer versions than the lock's.
    torch_backend
        uv's name of a build of torch (``cu128``), or None.
    setup_options
        Keyword arguments of `setup` in the smoke test.
    """

    models: tuple[str, ...] | None = None
    device: str = "cpu"
    test_device: str | None = None
    force: bool = False
    relock: bool = False
    torch_backend: str | None = None
    setup_options: Mapping[str, Any] = field(default_factory=dict)


def build(layout: Layout, name: str, options: BuildOptions, say: Say) -> EnvironmentRecord:
    """Build an environment of a root and return its record.

    Only what passed its smoke test is put into use, in one step; a failure is recorded and
    leaves the version in use as it was. A second build of the same environment waits for the
    first.

    Raises
    ------
    SourceError
        If there is no environment file of that name, or it is refused.
    BuildError
        If a step fails or takes too long; the message is one line with the log's path.
    """
    environment = environment_name(name)
    if name in BUILT_IN:
        raise RootError(f"{name} is built in and needs no environment: model={name!r} just works")
    writable(layout)
    source = _source(layout, environment)
    guard = layout.locks / f"{environment}.lock"
    try:
        with locked(guard, wait=False):
            return _build_recorded(layout, source, options, say)
    except AlreadyLockedError as error:
        say(f"waiting for another build of {environment} ({error})")
    with locked(guard):
        # What the other build made is enough, unless it failed or another thing is wanted.
        return _build_recorded(layout, source, replace(options, force=False), say)


def model_name(environment: str, argument: str) -> str:
    """Return the model string of an argument: ``mace-medium``; ``chgnet`` for an empty one."""
    return f"{short_name(environment)}-{argument}" if argument else short_name(environment)


def _build_recorded(
    layout: Layout, source: EnvironmentSource, options: BuildOptions, say: Say
) -> EnvironmentRecord:
    log = Log(layout.logs / f"{source.name}.log")
    log.begin()
    for gone in sweep(layout, source.name):
        say(f"removed {gone}, which an earlier build left")
    start = time.monotonic()
    try:
        record = _build(layout, source, options, log, say, start)
    except (BuildError, OSError) as error:
        message = str(error) if isinstance(error, BuildError) else f"{error} (log: {log.path})"
        with changed_manifest(layout) as manifest:
            manifest.errors[source.name] = Failure(now(), message)
        raise BuildError(message) from error
    say(f"{source.name} is ready after {time.monotonic() - start:.0f} s")
    return record


def _build(
    layout: Layout,
    source: EnvironmentSource,
    options: BuildOptions,
    log: Log,
    say: Say,
    start: float,
) -> EnvironmentRecord:
    manifest = read_manifest(layout)
    models = _models(manifest, source, options)
    interpreter = ensure_interpreter(layout, source.requires_python, log, say)
    platform_ = wanted_platform(source, interpreter, options.device, options.torch_backend)
    lock_file = lock(layout, source, interpreter, platform_, log, say, anew=options.relock)
    old = manifest.environments.get(source.name)
    if old is None or options.force or _changed(layout, source, lock_file, options, old):
        folder = new_version_folder(layout, source.name)
        library_path = interpreter.library_path
        bench = Bench(layout, folder, source.name, source.facts, library_path, log, say)
        try:
            make_version(folder, layout, interpreter, lock_file, platform_, log, say)
            shutil.copyfile(source.path, folder / f"{source.name}.py")
            if not models:
                import_test(bench)
            _try_models(bench, manifest, models, options)
            record = _record(layout, source, folder, lock_file, options, start, interpreter)
            write_record(folder, record)
        except BaseException:
            remove_tree(folder)
            raise
        point_link(layout.envs / source.name, f".versions/{folder.name}")
    else:
        say(f"{source.name} is up to date")
        record, folder = old, layout.versions / old.version
        library_path = layout.folder / old.library_path if old.library_path else None
        bench = Bench(layout, folder, source.name, source.facts, library_path, log, say)
        models = {n: m for n, m in models.items() if not _verified(m, old, options)}
        _try_models(bench, manifest, models, options)
    with changed_manifest(layout) as latest:
        latest.environments[source.name] = record
        latest.errors.pop(source.name, None)
        latest.models |= models
    return record


def _try_models(
    bench: Bench, manifest: Manifest, models: dict[str, ModelRecord], options: BuildOptions
) -> None:
    for name, model in models.items():
        path = registered(manifest, model.environment, model.argument)
        if path is None and not is_path(model.argument) and bench.facts.is_fetched(model.argument):
            fetch(bench, model, name)
        device = options.test_device or options.device
        verification = smoke_test(bench, model, name, device, options.setup_options)
        model.verified = {**model.verified, device: verification}
        model.last_error = None


def _models(
    manifest: Manifest, source: EnvironmentSource, options: BuildOptions
) -> dict[str, ModelRecord]:
    """Return what is to be tested: what is asked for, or else all that was there and the default.

    A new version that breaks a model which worked is not put into use, unless it was left
    out by name.
    """
    known = {n: m for n, m in manifest.models.items() if m.environment == source.name}
    if options.models is not None:
        wanted = list(options.models)
    else:
        wanted = [m.argument for m in known.values()]
        if not wanted and source.facts.weights != "file":
            wanted = list(source.facts.models[:1])
    by_argument = {m.argument: (n, m) for n, m in known.items()}
    found: dict[str, ModelRecord] = {}
    for argument in dict.fromkeys(wanted):
        name = model_name(source.name, argument)
        found[name] = by_argument.get(argument, (name, ModelRecord(source.name, argument)))[1]
    return found


def _changed(
    layout: Layout,
    source: EnvironmentSource,
    lock_file: Path,
    options: BuildOptions,
    old: EnvironmentRecord,
) -> bool:
    return (
        sha256_of(source.path) != old.source_sha256
        or sha256_of(lock_file) != old.lock_sha256
        or options.device != old.device
        or package_sha256() != old.rootstock_sha256
        or layout.current(source.name) is None
    )


def _verified(model: ModelRecord, record: EnvironmentRecord, options: BuildOptions) -> bool:
    found = model.verified.get(options.test_device or options.device)
    return found is not None and found.version == record.version


def _record(
    layout: Layout,
    source: EnvironmentSource,
    folder: Path,
    lock_file: Path,
    options: BuildOptions,
    start: float,
    interpreter: Any,
) -> EnvironmentRecord:
    def relative(path: Path | None) -> str | None:
        return str(path.relative_to(layout.folder)) if path else None

    return EnvironmentRecord(
        name=source.name,
        version=folder.name,
        built=now(),
        wall_s=round(time.monotonic() - start, 1),
        size_bytes=size_of_tree(folder),
        source_sha256=sha256_of(source.path),
        lock_sha256=sha256_of(lock_file),
        device=options.device,
        python=interpreter.version,
        interpreter=str(relative(interpreter.python)),
        library_path=relative(interpreter.library_path),
        rootstock=package_version(),
        rootstock_sha256=package_sha256(),
        uv=uv_version(),
        packages=locked_packages(lock_file),
        aliases=list(source.facts.aliases),
    )


def _source(layout: Layout, environment: str) -> EnvironmentSource:
    path = layout.source(environment)
    if not path.is_file():
        shipped = shipped_source(environment)
        if shipped is None:
            there = [p.stem for p in layout.environments.glob("*_env.py")]
            known = sorted({short_name(n) for n in [*shipped_sources(), *there]})
            near = nearest(short_name(environment), known)
            hint = f"; did you mean {near}?" if near else ""
            raise SourceError(
                f"there is no environment {short_name(environment)!r}{hint} (known: "
                f"{', '.join(known)}; add your own file: rootstock add FILE)"
            )
        shutil.copyfile(shipped, path)
    source = read_source(path)
    check_requirements(source)
    return source
