"""From a model string to what has to be started.

``chgnet`` is the environment ``chgnet_env`` with an empty argument, ``mace-medium`` is
``mace_env`` with the argument ``medium``, ``mace-/path/to/weights.pt`` gives it a file. Where
more than one environment's name begins the string, the longest wins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rootstock.clusters import cluster_root
from rootstock.root.errors import SourceError, UnknownModelError
from rootstock.root.layout import Layout, open_root, short_name
from rootstock.root.manifest import Manifest, read_manifest
from rootstock.root.nearest import nearest
from rootstock.root.shipped import BUILT_IN, built_in_source, shipped_sources
from rootstock.root.source import Facts, check_setup, read_source
from rootstock.root.variables import model_variables


@dataclass(frozen=True)
class ResolvedModel:
    """What serves a model.

    Attributes
    ----------
    environment
        The environment's name, ``chgnet_env``; ``builtin`` for what needs none.
    argument
        What `setup` gets as its model: a name, an absolute path, or an empty string.
    python
        The interpreter to run the worker with.
    source
        The environment file, as it was when the environment was built.
    variables
        Environment variables to set over the user's own.
    """

    environment: str
    argument: str
    python: Path
    source: Path
    variables: dict[str, str] = field(default_factory=dict)


def resolve_model(root: Path, model: str) -> ResolvedModel:
    """Return what serves `model` in `root`; ``emt`` and ``lj`` need no root.

    Raises
    ------
    RootError
        If there is no root, or its manifest is broken.
    UnknownModelError
        If nothing in the root serves the model; the message lists what is built, and names
        the nearest or the command that builds it.
    """
    if model in BUILT_IN:
        return built_in(model)
    layout = open_root(root)
    manifest = read_manifest(layout)
    environment, argument = split_model(layout, manifest, model)
    return resolve_argument(layout, manifest, environment, argument, model)


def built_in(name: str) -> ResolvedModel:
    """Return one of ASE's own potentials, run by this interpreter."""
    return ResolvedModel("builtin", "", Path(sys.executable), built_in_source(name))


def resolve_source(path: Path) -> ResolvedModel:
    """Return an environment file run by this interpreter, for which nothing is built.

    Raises SourceError where the file has no `setup(model, device, **kwargs)`.
    """
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        raise SourceError(f"{path} is not there: environment= takes the path of a Python file")
    check_setup(path)
    return ResolvedModel(path.stem, "", Path(sys.executable), path)


def resolve_cluster(name: str) -> Path:
    """Return the root of a known cluster. Raises RootError naming the nearest and all known."""
    return cluster_root(name)


def split_model(layout: Layout, manifest: Manifest, model: str) -> tuple[str, str]:
    """Return the environment and the argument that a model string means."""
    if (record := manifest.models.get(model)) is not None:
        return record.environment, record.argument
    names = environment_names(layout, manifest)
    matching = [name for name in names if model == name or model.startswith(f"{name}-")]
    if not matching:
        raise UnknownModelError(_nothing_serves(layout, manifest, model, names))
    name = max(matching, key=len)
    return names[name], model[len(name) + 1 :]


def environment_names(layout: Layout, manifest: Manifest) -> dict[str, str]:
    """Return what model strings may begin with, and the environment that each name means."""
    names: dict[str, str] = {}
    for name, record in manifest.environments.items():
        names.update(dict.fromkeys((*record.aliases, short_name(name)), name))
    for path in sorted(layout.environments.glob("*_env.py")):
        if path.stem not in manifest.environments:
            names.setdefault(short_name(path.stem), path.stem)
    return names


def resolve_argument(
    layout: Layout, manifest: Manifest, environment: str, argument: str, model: str
) -> ResolvedModel:
    """Return what serves an argument in a built environment (see `resolve_model`)."""
    folder = layout.current(environment)
    if folder is None or environment not in manifest.environments:
        message = f"{environment} is not built in {layout.folder}"
        if (failure := manifest.errors.get(environment)) is not None:
            message += f" (its last build failed: {failure.message})"
        raise UnknownModelError(
            f"{message}; build it: rootstock build {short_name(environment)} --root {layout.folder}"
        )
    record = manifest.environments[environment]
    library_path = layout.folder / record.library_path if record.library_path else None
    return ResolvedModel(
        environment=environment,
        argument=_argument(layout, manifest, environment, argument, model),
        python=folder / "bin" / "python",
        source=folder / f"{environment}.py",
        variables=model_variables(layout.folder, library_path),
    )


def registered(manifest: Manifest, environment: str, argument: str) -> str | None:
    """Return the path, relative to the root, of weights registered for an argument."""
    for record in manifest.models.values():
        if (record.environment, record.argument) == (environment, argument) and record.path:
            return record.path
    return None


def _argument(
    layout: Layout, manifest: Manifest, environment: str, argument: str, model: str
) -> str:
    facts = built_facts(layout, environment)
    if not argument and facts.is_fetched(argument):
        argument = facts.models[0]
    if (path := registered(manifest, environment, argument)) is not None:
        return str(layout.folder / path)
    if is_path(argument):
        file = Path(os.path.abspath(Path(argument).expanduser()))  # noqa: PTH100 - links stay
        if not file.exists():
            raise UnknownModelError(f"{model}: {file} is not there")
        return str(file)
    there = {n: r.argument for n, r in manifest.models.items() if r.environment == environment}
    brought = facts.weights == "file" or facts.is_fetched(argument)
    if brought and argument not in there.values():
        name = short_name(environment)
        how = (
            f"fetch them: rootstock build {name} --models {argument}"
            if facts.weights == "download"
            else f"register a file: rootstock register {name}-NAME FILE"
        )
        raise UnknownModelError(
            f"the weights of {model} are not in {layout.folder} (there are: "
            f"{', '.join(sorted(there)) or 'none'}); {how} --root {layout.folder}"
        )
    return argument


def is_path(argument: str) -> bool:
    """Say whether the argument of a model string is a file or folder and not a name."""
    return argument.startswith(("/", "~", "./", "../"))


def built_facts(layout: Layout, environment: str) -> Facts:
    """Return the facts of a built environment, from the file it was built from."""
    folder = layout.current(environment)
    if folder is None:
        raise UnknownModelError(f"{environment} is not built in {layout.folder}")
    return read_source(folder / f"{environment}.py").facts


def _nothing_serves(
    layout: Layout, manifest: Manifest, model: str, names: Mapping[str, str]
) -> str:
    for environment, source in shipped_sources().items():
        for name in (short_name(environment), *source.facts.aliases):
            if model == name or model.startswith(f"{name}-"):
                return (
                    f"{environment} is not built in {layout.folder}; build it: rootstock build "
                    f"{short_name(environment)} --root {layout.folder}"
                )
    built = sorted(manifest.models) + [
        n for n, e in names.items() if e in manifest.environments and n not in manifest.models
    ]
    have = ", ".join([*built, *BUILT_IN])
    message = f"no environment in {layout.folder} serves {model!r}; there are: {have}"
    shipped = [short_name(name) for name in shipped_sources()]
    if (near := nearest(model, [*built, *BUILT_IN, *shipped])) is None:
        near = nearest(model.split("-", maxsplit=1)[0], [*built, *BUILT_IN, *shipped])
    return f"{message}; did you mean {near}?" if near else message
