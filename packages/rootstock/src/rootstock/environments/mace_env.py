# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["mace-torch==0.3.16", "torch==2.13.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "MACE: MACE-MP, -MPA, -OMAT, -MATPES, -OFF, or a model of your own"
# licence = "code MIT; MP and MPA weights MIT, OMAT, MATPES and OFF weights academic (ASL)"
# models = ["medium-mpa-0", "small", "medium", "large", "medium-0b3", "medium-omat-0", "matpes-pbe-0", "matpes-r2scan-0", "off-small", "off-medium", "off-large"]
# weights = "download"
# elements = ["Si"]
# ///
"""MACE: I. Batatia et al., NeurIPS 35, 11423 (2022); foundation models arXiv:2401.00096."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_ALSO_CALLED = {
    "mp-0": "medium",
    "mp-0-small": "small",
    "mp-0-medium": "medium",
    "mp-0-large": "large",
    "mpa-0": "medium-mpa-0",
    "omat-0": "medium-omat-0",
    "matpes-pbe-0": "mace-matpes-pbe-0",
    "matpes-r2scan-0": "mace-matpes-r2scan-0",
}


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a MACECalculator.

    Parameters
    ----------
    model
        A name of `mace_mp` (``medium-mpa-0`` where it is empty), ``off-`` and a name of
        `mace_off`, or the path of a model file (a pickle: take none from strangers).
    device
        ``cpu`` or ``cuda``.
    kwargs
        Of the function used; `default_dtype` is ``float32`` for foundation models, and the
        file's own for a path.
    """
    from mace.calculators import MACECalculator, mace_mp, mace_off
    from mace.calculators.foundations_models import mace_mp_names

    if Path(model).is_file():
        calculator = MACECalculator(model_paths=model, device=device, **kwargs)
        calculator.elements = _elements(calculator)
        return calculator
    if model.startswith("off-"):
        return mace_off(model=model.removeprefix("off-"), device=device, **kwargs)
    name = _ALSO_CALLED.get(model, model) or None
    if name not in mace_mp_names:
        known = ", ".join(sorted(str(n) for n in mace_mp_names if n))
        raise ValueError(f"MACE has no foundation model {model!r}; it has {known}")
    return mace_mp(model=name, device=device, **kwargs)


def _elements(calculator: Any) -> list[str]:
    """Return two of the elements the model knows, for the smoke test."""
    from ase.data import chemical_symbols

    return [chemical_symbols[int(z)] for z in calculator.z_table.zs][:2]
