# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["deepmd-kit[torch]==3.2.0", "torch==2.11.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "Deep Potential and DPA models of your own (PyTorch backend)"
# licence = "LGPL-3.0-or-later; weights are yours"
# aliases = ["dp"]
# models = []
# weights = "file"
# ///
"""DeePMD-kit: J. Zeng et al., J. Chem. Phys. 159, 054801 (2023).

Its wheel was compiled against torch 2.11.0 and refuses every other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a DP calculator.

    Parameters
    ----------
    model
        The path of a frozen model or checkpoint of the PyTorch backend (``.pth``, ``.pt``).
    device
        ``cpu`` or ``cuda``.
    kwargs
        Of DP; `head` chooses the branch of a multi-task model.
    """
    import os

    # DeePMD-kit takes the GPU it finds, and can be told only by a variable, before its import.
    os.environ["DEVICE"] = device
    from deepmd.calculator import DP

    if not Path(model).is_file():
        raise ValueError(f"deepmd needs a model file, not {model!r}: deepmd-/path/to/model.pth")
    calculator = DP(model=model, **kwargs)
    calculator.elements = list(calculator.type_dict)[:2]
    return calculator
