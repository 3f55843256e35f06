"""Environment files: a PEP 723 block that names requirements, and `setup`, which loads a model.

    # /// script
    # requires-python = ">=3.11,<3.13"
    # dependencies = ["chgnet==0.4.2", "torch==2.13.0"]
    #
    # [tool.rootstock]
    # models = ["0.3.0", "r2scan"]
    # ///

    def setup(model: str, device: str, **kwargs):
        from chgnet.model import CHGNetCalculator
        ...

A file is judged without running it: https://peps.python.org/pep-0723/ for the block, the
syntax tree for `setup`.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rootstock.root.errors import SourceError
from rootstock.root.layout import environment_name
from rootstock.root.nearest import nearest

# The reference pattern of PEP 723.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*_env")


@dataclass(frozen=True)
class Facts:
    """The table `[tool.rootstock]` of an environment file; every key may be left out.

    Attributes
    ----------
    summary
        One line for `rootstock list`.
    licence
        Of the code and of the weights.
    aliases
        More names that model strings may begin with (`uma-s-1p1` for fairchem).
    models
        Arguments that `setup` is known to take; the first is what is built by default. An
        empty string is the model's own default.
    weights
        `inside` the wheel, `download`ed at build time, or a `file` that a user registers.
    bundled
        Arguments whose weights are inside the wheel where others are downloaded.
    elements
        What the smoke test's crystal is made of, where the calculator does not tell by an
        attribute `elements`.
    conservative
        False where forces are predicted and not derivatives of the energy: their distance
        from finite differences is then told and not judged.
    exclude
        Requirements of the dependencies that are left out (training tools of gigabytes).
    """

    summary: str = ""
    licence: str = ""
    aliases: tuple[str, ...] = ()
    models: tuple[str, ...] = ("",)
    weights: str = "inside"
    bundled: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    conservative: bool = True
    exclude: tuple[str, ...] = ()

    def is_fetched(self, argument: str) -> bool:
        """Say whether the weights of an argument come from the network."""
        return self.weights == "download" and argument not in self.bundled


@dataclass(frozen=True)
class EnvironmentSource:
    """A valid environment file."""

    path: Path
    name: str
    requires_python: str
    dependencies: tuple[str, ...]
    facts: Facts


def read_source(path: Path) -> EnvironmentSource:
    """Read and judge an environment file. Raises SourceError naming what is wrong with it."""
    name = environment_name(path.stem)
    if not _NAME.fullmatch(name):
        raise SourceError(
            f"{path}: the file's name gives the environment its name, so it must be of lower-case "
            f"letters, digits and hyphens, not {path.stem!r}"
        )
    text = _text(path)
    check_setup(path, text)
    block = _block(path, text)
    for key in ("requires-python", "dependencies"):
        if key not in block:
            raise SourceError(f"{path}: its PEP 723 block lacks {key}")
    dependencies = block["dependencies"]
    if not isinstance(dependencies, list) or not all(isinstance(d, str) for d in dependencies):
        raise SourceError(f"{path}: dependencies must be a list of requirements")
    if not isinstance(block["requires-python"], str):
        raise SourceError(f"{path}: requires-python must be a version specifier in quotes")
    return EnvironmentSource(
        path=path,
        name=name,
        requires_python=block["requires-python"],
        dependencies=tuple(dependencies),
        facts=_facts(path, block.get("tool", {}).get("rootstock", {})),
    )


def check_setup(path: Path, text: str | None = None) -> None:
    """Demand `setup(model, device, **kwargs)` at the top level. Raises SourceError."""
    try:
        tree = ast.parse(_text(path) if text is None else text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise SourceError(f"{path}:{line or 1}: not Python: {error}") from None
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "setup"]
    if not found:
        raise SourceError(f"{path}: it has no function setup(model, device, **kwargs)")
    arguments = found[-1].args
    positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    without_default = positional[: len(positional) - len(arguments.defaults)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    missing = [*without_default[2:], *(a.arg for a, default in keywords if default is None)]
    if positional[:2] != ["model", "device"] or missing:
        raise SourceError(
            f"{path}:{found[-1].lineno}: setup must be setup(model, device, **kwargs): the first "
            "two arguments of these names, any other with a default"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not a Python file in UTF-8") from None


def _block(path: Path, text: str) -> dict[str, Any]:
    found = [m for m in _BLOCK.finditer(text) if m.group("type") == "script"]
    if not found:
        raise SourceError(
            f"{path}: it has no PEP 723 block (# /// script ... # ///) that names "
            "requires-python and dependencies"
        )
    if len(found) > 1:
        raise SourceError(f"{path}: it has more than one PEP 723 block of type script")
    lines = found[0].group("content").splitlines(keepends=True)
    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{path}: its PEP 723 block is not TOML: {error}") from None


def _facts(path: Path, table: Mapping[str, Any]) -> Facts:
    known = {f.name: type(f.default) for f in fields(Facts)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            near = nearest(key, known)
            hint = f"; did you mean {near}?" if near else f"; known: {', '.join(known)}"
            raise SourceError(f"{path}: [tool.rootstock] has no key {key}{hint}")
        given = tuple(value) if isinstance(value, list) else value
        if not isinstance(given, known[key]) or (
            isinstance(given, tuple) and not all(isinstance(item, str) for item in given)
        ):
            kind = {tuple: "a list of strings", bool: "true or false", str: "a string"}[known[key]]
            raise SourceError(f"{path}: [tool.rootstock] {key} must be {kind}")
        values[key] = given
    if values.get("weights", "inside") not in ("inside", "download", "file"):
        raise SourceError(f"{path}: [tool.rootstock] weights must be inside, download or file")
    return Facts(**values)
