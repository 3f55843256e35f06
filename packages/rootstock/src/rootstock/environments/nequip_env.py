# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["nequip==0.19.1", "torch==2.13.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "NequIP and Allegro models of your own, compiled or packaged"
# licence = "MIT; weights are yours"
# models = []
# weights = "file"
# ///
"""NequIP: S. Batzner et al., Nat. Commun. 13, 2453 (2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a NequIPCalculator.

    Parameters
    ----------
    model
        The path of what `nequip-compile --target ase` wrote (``.nequip.pt2``,
        ``.nequip.pth``), or of a package (``.nequip.zip``) or checkpoint (``.ckpt``).
    device
        ``cpu`` or ``cuda``; a compiled model runs on the device it was compiled for.
    kwargs
        Of NequIPCalculator's loaders, such as `chemical_species_to_atom_type_map`.
    """
    from nequip.integrations.ase import NequIPCalculator

    if not Path(model).is_file():
        raise ValueError(f"nequip needs a model file, not {model!r}: nequip-/path/to/model.pt2")
    if model.endswith((".pt2", ".pth")):
        calculator = NequIPCalculator.from_compiled_model(model, device=device, **kwargs)
    else:
        calculator = NequIPCalculator._from_saved_model(model, device=device, **kwargs)
    return calculator
