# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["orb-models==0.5.5", "torch==2.13.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "Orb v3 and v2, universal potentials, conservative and with direct forces"
# licence = "Apache-2.0, code and weights"
# models = ["v3-conservative-20-omat", "v3-conservative-inf-omat", "v3-direct-20-omat", "v3-conservative-omol"]
# weights = "download"
# elements = ["Si"]
# ///
"""Orb: B. Rhodes et al., arXiv:2504.06231."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return an ORBCalculator.

    Parameters
    ----------
    model
        A name of `ORB_PRETRAINED_MODELS` without its ``orb-`` (``v3-conservative-20-omat``
        where it is empty), or the path of weights of the architecture named by
        `architecture`.
    device
        ``cpu`` or ``cuda``.
    kwargs
        `architecture` (a name as above, for a path), `precision` and `compile` of the
        loader; the others go to ORBCalculator.
    """
    from orb_models.forcefield.calculator import ORBCalculator
    from orb_models.forcefield.pretrained import ORB_PRETRAINED_MODELS

    from_file = Path(model).is_file()
    name = kwargs.pop("architecture", "") if from_file else model
    name = f"orb-{name or 'v3-conservative-20-omat'}"
    if name not in ORB_PRETRAINED_MODELS:
        raise ValueError(f"Orb has no model {name!r}; it has {', '.join(ORB_PRETRAINED_MODELS)}")
    # Compiled anew for every worker and number of atoms: more time than it saves.
    options: dict[str, Any] = {"precision": "float32-highest", "compile": False}
    options |= {key: kwargs.pop(key) for key in ("precision", "compile") if key in kwargs}
    if from_file:
        options["weights_path"] = model
    network = ORB_PRETRAINED_MODELS[name](device=device, **options)
    return ORBCalculator(network, device=device, **kwargs)
