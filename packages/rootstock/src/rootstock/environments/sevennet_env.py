# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["sevenn==0.13.0", "torch==2.13.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "SevenNet, equivariant universal potentials (MPtrj, OMat24, ...)"
# licence = "MIT, code and weights"
# aliases = ["7net"]
# models = ["", "0", "l3i5", "mf-0", "mf-ompa", "omat", "omni"]
# weights = "download"
# bundled = ["", "0", "0_22may2024", "l3i5", "mf-0"]
# elements = ["Si"]
# ///
"""SevenNet: Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024).

SevenNet-0, l3i5 and mf-0 are in its wheel; the larger ones are downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Models of more than one fidelity want to be told which: PBE where nothing is said.
_MODAL = {"mf-0": "PBE", "mf-ompa": "mpa", "omni": "mpa", "omni-i8": "mpa", "omni-i12": "mpa"}


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return a SevenNetCalculator.

    Parameters
    ----------
    model
        ``0`` (SevenNet-0 of July 2024, also where it is empty), ``l3i5``, ``mf-0``,
        ``mf-ompa``, ``omat``, ``omni``, or the path of a checkpoint (a pickle: take none
        from strangers).
    device
        ``cpu`` or ``cuda``.
    kwargs
        Of SevenNetCalculator; `modal` is the fidelity.
    """
    from sevenn.calculator import SevenNetCalculator

    if not Path(model).is_file():
        model = model or "0"
        if model in _MODAL:
            kwargs.setdefault("modal", _MODAL[model])
        _keep_in_cache(model)
        model = f"7net-{model}"
    return SevenNetCalculator(model, device=device, **kwargs)


def _keep_in_cache(model: str) -> None:
    """Download into the cache: SevenNet itself would write into its installed package."""
    from sevenn import _const
    from sevenn.util import download_checkpoint

    wanted = f"checkpoint_sevennet_{model.replace('-', '_')}.pth"
    for path, url in _const.CHECKPOINT_DOWNLOAD_LINKS.items():
        cached = Path.home() / ".cache" / "sevennet" / Path(path).relative_to(_const._prefix)
        if Path(path).name == wanted and not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            download_checkpoint(str(cached), url)
