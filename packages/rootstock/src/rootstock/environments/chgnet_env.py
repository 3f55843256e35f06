# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["chgnet==0.4.2", "torch==2.13.0", "numpy==1.26.4", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "CHGNet, a universal potential with magnetic moments (Materials Project, PBE+U)"
# licence = "BSD-3-Clause, code and weights"
# models = ["", "0.3.0", "0.2.0", "r2scan"]
# weights = "inside"
# elements = ["Si"]
# ///
"""CHGNet: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Its weights are in its wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a CHGNetCalculator.

    Parameters
    ----------
    model
        ``0.3.0`` (also where it is empty), ``0.2.0``, ``r2scan``, or the path of a file that
        `CHGNet.save` or its trainer wrote (a pickle: take none from strangers).
    device
        ``cpu`` or ``cuda``.
    kwargs
        Of CHGNetCalculator.
    """
    from chgnet.model import CHGNet, CHGNetCalculator

    if Path(model).is_file():
        network = CHGNet.from_file(model)
    else:
        network = CHGNet.load(model_name=model or "0.3.0", use_device=device, verbose=False)
    return CHGNetCalculator(network, use_device=device, **kwargs)
