# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["mattersim==1.2.3", "torch==2.13.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "MatterSim, a universal potential up to 5000 K and 1000 GPa"
# licence = "MIT, code and weights"
# models = ["v1.0.0-1M", "v1.0.0-5M"]
# weights = "download"
# elements = ["Si"]
# exclude = ["wandb", "torchaudio", "torchvision", "atomate2", "emmet-core", "mp-api", "azure-identity", "azure-storage-blob"]
# ///
"""MatterSim: H. Yang et al., arXiv:2405.04967."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a MatterSimCalculator.

    Parameters
    ----------
    model
        ``v1.0.0-1M`` (also where it is empty), ``v1.0.0-5M``, or the path of a checkpoint.
    device
        ``cpu`` or ``cuda``.
    kwargs
        Of MatterSimCalculator.
    """
    from mattersim.forcefield.potential import MatterSimCalculator, Potential

    path = model if Path(model).is_file() else f"mattersim-{model or 'v1.0.0-1M'}.pth"
    potential = Potential.from_checkpoint(path, device=device, load_training_state=False)
    return MatterSimCalculator(potential, device=device, **kwargs)
