# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["tblite==0.8.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "GFN1-xTB and GFN2-xTB, semi-empirical tight binding; no weights at all"
# licence = "LGPL-3.0-or-later"
# aliases = ["xtb"]
# models = ["", "gfn1", "gfn2", "ipea1"]
# elements = ["Na", "Cl"]
# ///
"""tblite: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019)."""

from __future__ import annotations

from typing import Any

_METHODS = {"": "GFN2-xTB", "gfn1": "GFN1-xTB", "gfn2": "GFN2-xTB", "ipea1": "IPEA1-xTB"}


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a TBLite calculator (Gamma point only: periodic cells must be large).

    Parameters
    ----------
    model
        ``gfn2`` (also where it is empty), ``gfn1`` or ``ipea1``.
    device
        Only ``cpu``.
    kwargs
        Of TBLite: `charge`, `multiplicity`, `accuracy`, `electronic_temperature` (K), ...
    """
    from tblite.ase import TBLite

    if device != "cpu":
        raise ValueError(f"tblite runs on the CPU only, not on {device!r}: use device='cpu'")
    method = _METHODS.get(model.lower().removesuffix("-xtb"))
    if method is None:
        raise ValueError(f"tblite has no method {model!r}; it has {', '.join(_METHODS)[2:]}")
    return TBLite(**({"method": method, "verbosity": 0} | kwargs))
