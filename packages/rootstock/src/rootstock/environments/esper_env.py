# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["torch==2.13.0", "safetensors==0.8.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "Networks that grew their architecture (esper); its trainer for potentials is still to come"
# licence = "BSD-3-Clause; artifacts are yours"
# models = []
# weights = "file"
# ///
"""Artifacts exported by esper: torch.export programs and safetensors.

Its trainer for potentials is not released yet. Without it nothing can be loaded, and this file says so
rather than guess what an artifact means.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return the calculator of an exported artifact, by esper's own loader.

    Parameters
    ----------
    model
        The path of an artifact's folder.
    device
        ``cpu`` or ``cuda``.
    kwargs
        Of `esper.calculator`.
    """
    esper = import_module("esper") if find_spec("esper") else None
    calculator = getattr(esper, "calculator", None)
    if calculator is None:
        raise RuntimeError(
            "no esper that can serve a potential is in this environment (its trainer for "
            "potentials is not released yet), so no artifact of it can be loaded"
        )
    if not Path(model).exists():
        raise ValueError(f"esper needs an exported artifact, not {model!r}: esper-/path/to/folder")
    return calculator(Path(model), device=device, **kwargs)
