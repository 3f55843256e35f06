"""Foundation models served by rootstock, each in an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ase.calculators.calculator import Calculator
from rootstock.root.errors import RootError
from rootstock.root.resolve import BUILT_IN, resolve_model

from pyacemaker.config.settings import GeneratorSettings
from pyacemaker.parts.sources import PartError

ROOT_VARIABLE = "ROOTSTOCK_ROOT"


def check_models(settings: GeneratorSettings) -> None:
    """Raise PartError, in one line with its remedy, where a model cannot be served."""
    for model in settings.foundation:
        if model in BUILT_IN:
            continue
        try:
            resolve_model(root_of(settings.root, "generator.root"), model)
        except RootError as error:
            raise PartError(f"generator.foundation: {error}") from error


def root_of(named: str | None, key: str) -> Path:
    """Return the rootstock root that is named, or that of the environment variable.

    `key` is the configuration's key for it, for the message. Raises PartError for neither.
    """
    found = named or os.environ.get(ROOT_VARIABLE)
    if not found:
        raise PartError(
            f"{key} is not set and neither is the variable {ROOT_VARIABLE}: name the rootstock "
            "root that holds the models"
        )
    return Path(found).expanduser()


@contextmanager
def foundation_models(settings: GeneratorSettings) -> Iterator[list[Calculator]]:
    """Give a calculator for each of the models of `settings`; their processes end with it."""
    from rootstock import RootstockCalculator  # noqa: PLC0415 - quick start where none is used

    with ExitStack() as stack:
        yield [
            stack.enter_context(
                RootstockCalculator(
                    root=None if model in BUILT_IN else root_of(settings.root, "generator.root"),
                    model=model,
                    device=settings.device,
                )
            )
            for model in settings.foundation
        ]
