"""From a model string to what has to be started."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from rootstock.errors import RootstockError

BUILT_IN = ("emt", "lj")
_FOLDER = Path(__file__).resolve().parent.parent / "environments"


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
        The environment file, which defines ``setup(model, device, **kwargs)``.
    variables
        Environment variables to set over the user's own.
    """

    environment: str
    argument: str
    python: Path
    source: Path
    variables: dict[str, str] = field(default_factory=dict)


def resolve_model(root: Path, model: str) -> ResolvedModel:
    """Return what serves `model` in `root`; ``emt`` and ``lj`` need no root."""
    if model in BUILT_IN:
        return ResolvedModel("builtin", "", Path(sys.executable), _FOLDER / f"{model}.py")
    raise RootstockError(f"no environment in {root} serves {model!r}; there are: emt, lj")


def resolve_source(path: Path) -> ResolvedModel:
    """Return an environment file run by this interpreter, for which nothing is built."""
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        raise RootstockError(f"{path} is not there: environment= takes the path of a Python file")
    return ResolvedModel(path.stem, "", Path(sys.executable), path)


def resolve_cluster(name: str) -> Path:
    """Return the root of a known cluster."""
    raise RootstockError(f"the cluster {name!r} is not known")
