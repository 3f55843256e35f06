# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["fairchem-core==2.24.0", "torch==2.13.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "UMA, Meta's universal models for materials, molecules and catalysis"
# licence = "code MIT; UMA weights FAIR Chemistry License, gated: needs a Hugging Face token"
# aliases = ["uma"]
# models = ["s-1p2p1", "s-1p2", "s-1p1", "m-1p1"]
# weights = "download"
# elements = ["Si"]
# ///
"""UMA: B. M. Wood et al., arXiv:2506.23971."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a FAIRChemCalculator.

    Parameters
    ----------
    model
        ``s-1p2p1`` (also where it is empty), ``s-1p1``, ``m-1p1``, ... with or without
        ``uma-``, or the path of a checkpoint.
    device
        ``cpu`` or ``cuda``.
    kwargs
        `task_name` (``omat`` by default; ``omol``, ``oc20``, ``odac``, ``omc``) and
        `inference_settings` (``batch`` by default, which keeps its speed when the composition
        changes; ``default`` is faster for one system).
    """
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.calculate.pretrained_mlip import get_predict_unit

    name = model if Path(model).is_file() else f"uma-{(model or 's-1p2p1').removeprefix('uma-')}"
    task = kwargs.pop("task_name", "omat")
    settings = kwargs.pop("inference_settings", "batch")
    unit = get_predict_unit(name, inference_settings=settings, device=device, **kwargs)
    return FAIRChemCalculator(unit, task_name=task)
