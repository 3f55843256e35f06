"""Foundation models served by rootstock, each in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ase.calculators.calculator import Calculator

from pyacemaker.config.settings import GeneratorSettings
from pyacemaker.parts.rootstock_root import root_of
from pyacemaker.parts.sources import PartError
from rootstock.root.errors import RootError
from rootstock.root.resolve import resolve_model
from rootstock.root.shipped import BUILT_IN


def check_models(settings: GeneratorSettings) -> None:
    """Raise PartError, in one line with its remedy, where a model cannot be served."""
    for model in settings.foundation:
        if model in BUILT_IN:
            continue
        try:
            resolve_model(root_of(settings.root, "generator.root"), model)
        except RootError as error:
            raise PartError(f"generator.foundation: {error}") from error


@contextmanager
def foundation_models(settings: GeneratorSettings) -> Iterator[list[Calculator]]:
    """Give a calculator for each of the models of `settings`; their processes end with it."""
    from rootstock import RootstockCalculator

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
