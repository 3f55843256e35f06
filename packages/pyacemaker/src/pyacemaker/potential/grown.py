"""An esper potential on disk: what the networks are made of, as JSON and safetensors."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

import pyacemaker
from pyacemaker.files import sha256_of
from pyacemaker.potential.directory import Potential, _publish
from pyacemaker.potential.manifest import (
    FILES_OF,
    MANIFEST,
    NETWORK,
    WEIGHTS,
    Manifest,
    PotentialError,
)
from pyacemaker.trainer.baseline import ZblBaseline
from rootstock.environments.esper_env import GrownModel


def write_grown_potential(
    outdir: Path,
    *,
    model: GrownModel,
    weights: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]],
    plan: Mapping[str, Any],
    baseline: ZblBaseline,
    fit: Mapping[str, Any],
) -> Potential:
    """Write a potential directory whole and return it, loaded and verified.

    Parameters
    ----------
    outdir
        The directory to make; an earlier one of that name is replaced.
    model
        The potential, with its active sets and isolated atoms' energies.
    weights
        The networks' numbers by name (`GrowingNetworks.weights`).
    plan
        Plain JSON values about the architecture: `blocks`, `activation`, `size`.
    baseline
        What was subtracted before the fit.
    fit
        Plain JSON values that describe the fit.

    Raises
    ------
    PotentialError
        If a number is not finite.
    """
    descriptor = model.descriptor
    tensors = {name: np.ascontiguousarray(value, dtype=float) for name, value in weights.items()}
    for element in descriptor.elements:
        tensors[f"{element}.active_set"] = np.ascontiguousarray(model.inverse[element])
    broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if broken:
        raise PotentialError(f"not finite: {', '.join(broken)}")
    text = {
        **plan,
        "elements": list(descriptor.elements),
        "cutoff_A": descriptor.cutoff_A,
        "functions": [[list(factor) for factor in f] for f in descriptor.functions],
        "cores": [vars(core) for core in descriptor.cores],
    }
    outdir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=outdir.parent, prefix=f".{outdir.name}."))
    try:
        (staging / NETWORK).write_text(json.dumps(text) + "\n")
        (staging / WEIGHTS).write_bytes(save(tensors))
        manifest = Manifest(
            form="esper",
            elements=descriptor.elements,
            cutoff_A=descriptor.cutoff_A,
            reference_energies_eV=dict(model.reference_energies),
            baseline=baseline.to_json(),
            fit=dict(fit),
            files={name: sha256_of(staging / name) for name in FILES_OF["esper"]},
            made_with={"pyacemaker": pyacemaker.__version__, "torch": version("torch")},
        )
        (staging / MANIFEST).write_text(manifest.to_text())
        _publish(staging, outdir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Potential.load(outdir)
