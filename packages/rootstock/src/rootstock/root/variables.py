"""The environment variables that a model's process gets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# What would let another environment's packages, or its interpreter, into this one.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "CONDA_PREFIX")


def model_variables(
    root: Path, library_path: Path | None = None, *, offline: bool = True
) -> dict[str, str]:
    """Return what is set, over the user's own environment, for a process that runs a model.

    Weights are looked for in the root's caches and nowhere else, so a root works the same for
    every user and without a network. What libraries compile or cache for this machine goes
    to the user's own cache, as the root may be read-only. An empty value removes the
    meaning of a variable that the user has.

    Parameters
    ----------
    root
        The root's folder.
    library_path
        A folder of shared libraries that the interpreter needs, or None.
    offline
        False while weights are being fetched.
    """
    cache = root / "cache"
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rootstock"
    variables = {
        "ROOTSTOCK_ROOT": str(root),
        "HOME": str(cache / "home"),
        "XDG_CACHE_HOME": str(cache / "xdg"),
        "HF_HOME": str(cache / "huggingface"),
        "TORCH_HOME": str(cache / "torch"),
        "FAIRCHEM_CACHE_DIR": str(cache / "fairchem"),
        "CACHED_PATH_CACHE_ROOT": str(cache / "cached_path"),
        "MPLCONFIGDIR": str(own / "matplotlib"),
        "NUMBA_CACHE_DIR": str(own / "numba"),
        "TRITON_CACHE_DIR": str(own / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(own / "inductor"),
        "WARP_CACHE_PATH": str(own / "warp"),
        "CUDA_CACHE_PATH": str(own / "cuda"),
        "PYTHONPATH": "",
        "PYTHONHOME": "",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if offline:
        variables["HF_HUB_OFFLINE"] = "1"
    elif "HF_TOKEN_PATH" not in os.environ:
        # Gated weights need the user's own token, which is not in the root's caches.
        home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
        variables["HF_TOKEN_PATH"] = str(Path(home) / "token")
    if library_path is not None:
        paths = [str(library_path), os.environ.get("LD_LIBRARY_PATH", "")]
        variables["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
    return variables


def complete(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a process: the user's, less what is foreign, and these."""
    own = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    return own | {key: value for key, value in variables.items() if value or key not in FOREIGN}
