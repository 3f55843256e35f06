"""Environment files: from a path to a calculator."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class SetupError(RuntimeError):
    """An environment file that cannot be used; the message names it."""


def make_calculator(source: Path, model: str, device: str, options: Mapping[str, Any]) -> Any:
    """Return what `setup(model, device, **options)` of an environment file returns.

    Raises SetupError where there is no such function, and whatever the file raises.
    """
    spec = importlib.util.spec_from_file_location("rootstock_source", source)
    if spec is None or spec.loader is None:
        raise SetupError(f"{source} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    setup = getattr(module, "setup", None)
    if not callable(setup):
        raise SetupError(f"{source} defines no function setup(model, device, **kwargs)")
    calculator = setup(model, device, **options)
    if not hasattr(calculator, "get_property") and not hasattr(calculator, "calculate_many"):
        raise SetupError(
            f"{source}: setup() returned a {type(calculator).__name__}, which is neither an ASE "
            "calculator nor has a method calculate_many"
        )
    return calculator
