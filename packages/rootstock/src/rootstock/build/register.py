"""Weights that a user brings: copied into the root, with checksums, under a model's name."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from rootstock.build.models import smoke_test
from rootstock.build.programs import Say
from rootstock.build.verify import bench_of, writable
from rootstock.root.errors import RootError, UnknownModelError
from rootstock.root.files import locked, remove_tree, sha256_of, sync_folder
from rootstock.root.layout import Layout, short_name
from rootstock.root.manifest import ModelRecord, changed_manifest, read_manifest
from rootstock.root.resolve import environment_names
from rootstock.root.shipped import shipped_sources

_ARGUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def register(
    layout: Layout,
    model: str,
    path: Path,
    say: Say,
    *,
    elements: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    device: str = "cpu",
    setup_options: Mapping[str, Any] | None = None,
    replace: bool = False,
    test: bool = True,
) -> ModelRecord:
    """Copy weights into the root as `model` and return their record.

    Where the environment is built the model passes the smoke test first; else the next build
    tests it.

    Parameters
    ----------
    layout
        The root.
    model
        The environment's name, a hyphen and a name of your own: ``mace-mine``.
    path
        A file, or a folder such as a potential's.
    say
        Takes progress, a line at a time.
    elements
        What the smoke test's crystal is made of, where the model does not tell.
    facts
        Plain JSON values to keep in the manifest (where it comes from, a report's verdict).
    device
        What the smoke test runs on.
    setup_options
        Keyword arguments of the environment's `setup`, for the smoke test.
    replace
        Take the place of weights that have this name already.
    test
        False to leave the smoke test to the next `verify`.

    Raises
    ------
    RootError
        If the name or an element is no such thing, or is taken, or `path` is not there.
    BuildError
        If the smoke test fails; nothing is registered then.
    """
    writable(layout)
    environment, argument = _split(layout, model)
    for element in elements:
        if element not in chemical_symbols[1:]:
            raise RootError(f"no such element: {element!r}")
    path = path.expanduser()
    if not path.exists():
        raise RootError(f"{path} is not there")
    with locked(layout.locks / f"{environment}.lock"):
        manifest = read_manifest(layout)
        old = manifest.models.get(model)
        if old is not None and not replace:
            raise RootError(
                f"{model} is there already; replace it with --replace, or choose another name"
            )
        record = _copied(layout, environment, argument, path, say)
        record.elements = list(elements)
        record.facts = dict(facts or {})
        target = layout.folder / str(record.path)
        try:
            if test and environment in manifest.environments:
                bench = bench_of(layout, manifest.environments[environment], say)
                found = smoke_test(bench, record, model, device, setup_options or {})
                record.verified = {device: found}
            elif test:
                say(f"{environment} is not built yet: the next build tests {model}")
            with changed_manifest(layout) as latest:
                latest.models[model] = record
        except BaseException:
            remove_tree(target.parent)
            raise
    if old is not None and old.path and old.path != record.path:
        remove_tree((layout.folder / old.path).parent)
    say(f"registered {model} ({record.size_bytes / 1e6:.1f} MB)")
    return record


def _split(layout: Layout, model: str) -> tuple[str, str]:
    names = {
        name: environment
        for environment, source in shipped_sources().items()
        for name in (short_name(environment), *source.facts.aliases)
    } | environment_names(layout, read_manifest(layout))
    matching = [name for name in names if model.startswith(f"{name}-")]
    if not matching:
        raise UnknownModelError(
            f"{model!r} does not begin with an environment's name and a hyphen, as in mace-mine "
            f"(environments: {', '.join(sorted(names))})"
        )
    name = max(matching, key=len)
    argument = model[len(name) + 1 :]
    if not _ARGUMENT.fullmatch(argument):
        raise RootError(
            f"{model!r}: the part after {name}- must be of letters, digits, dots, hyphens and "
            "underscores"
        )
    return names[name], argument


def _copied(layout: Layout, environment: str, argument: str, path: Path, say: Say) -> ModelRecord:
    say(f"copying {path} into the root")
    parent = layout.weights / environment
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in parent.glob(".copying-*"):
        remove_tree(leftover)
    staging = Path(tempfile.mkdtemp(dir=parent, prefix=".copying-"))
    try:
        staging.chmod(0o755)
        copy = staging / path.resolve().name
        if path.is_dir():
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns(".*"))
        else:
            shutil.copyfile(path, copy)
        files = sorted(p for p in copy.rglob("*") if p.is_file()) if copy.is_dir() else [copy]
        if not files:
            raise RootError(f"{path} is an empty folder")
        sums = {file.relative_to(staging): sha256_of(file) for file in files}
        tag = next(iter(sums.values()))[:8] if len(sums) == 1 else _tag(sums)
        folder = parent / f"{argument}-{tag}"
        size = sum(file.stat().st_size for file in files)
        remove_tree(folder)
        staging.rename(folder)
        sync_folder(parent)
    except OSError as error:
        raise RootError(f"{path} could not be copied: {error}") from error
    finally:
        remove_tree(staging)
    inside = folder.relative_to(layout.folder)
    return ModelRecord(
        environment=environment,
        argument=argument,
        path=str(inside / copy.name),
        weights={str(inside / name): value for name, value in sums.items()},
        size_bytes=size,
    )


def _tag(sums: Mapping[Path, str]) -> str:
    import hashlib

    return hashlib.sha256(repr(sorted(sums.items())).encode()).hexdigest()[:8]
